"""Whether this checkout is slower than another one: ``head_cost.py`` and ``train_step.py``, in turn in both.

The benchmarks are those of this checkout, so that the same is measured; the package and its configs are each one's own.
The row of cross entropy, in which nothing of this project runs, tells how much of a ratio is noise.

    python benchmarks/against.py --other PATH [--tables head_cost:N2C19 train_step:pspnet_r18-2x512] [--runs 15]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import measure
import torch
from measure import describe, machine, paired_ratio, parser_of, progress, summary, timer, warm_up, write_json

TABLES = ('head_cost:N2C19', 'train_step:pspnet_r18-2x512')
# Those that both ends of this project's history have.
VARIANTS = (
    'cross entropy',
    'fused cross entropy, fused head',
    'ISDA',
    'ISDA, fused head',
    'ISDA at labels, fused head',
    'ISDA full, fused head',
)
MARK = 'took: '  # before a reply; other lines of a worker are those of the toolkits


class Checkout:
    """A process that has the package of one checkout, and makes one timed run when it is asked to."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        command = [sys.executable, __file__, '--worker', str(path), '--threads', str(threads), '--device', device]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, table: str, variant: str) -> float:
        """Return the milliseconds of one call."""
        self.process.stdin.write(json.dumps([table, variant]) + '\n')
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return float(line[len(MARK) :])
        raise RuntimeError(f'the process of a checkout ended with {self.process.wait()}; its error stands above')

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def work(path: str, device: str) -> None:
    """Answer what stdin asks for, with the package of a checkout."""
    sys.path.insert(0, path)
    measure.ROOT = Path(path)  # whose configs are read
    package = Path(import_module('mmseg_isda').__file__)
    if not package.is_relative_to(path):
        raise RuntimeError(f'mmseg_isda comes from {package}, not from {path}')
    calls, current = {}, None
    for line in sys.stdin:
        table, variant = json.loads(line)
        if table != current:  # The networks of one table are enough to hold.
            calls, current = {}, table
        if variant not in calls:
            script, case = table.split(':')
            call = import_module(script).BENCHMARK.step(case, variant, device)
            calls[variant] = call, warm_up(call, device)
        print(f'{MARK}{timer(device)(*calls[variant])}', flush=True)


def compare(table: str, sides: Sequence[Checkout], runs: int, variants: Sequence[str]) -> dict:
    """Print the table of a case and return its figures."""
    print(f'\n{table:34} {"other ms":>10} {"this ms":>10} {"ratio (low to high)":>22}')
    times: dict[str, tuple[list[float], list[float]]] = {variant: ([], []) for variant in variants}
    for run in range(runs + 1):  # The first one makes the networks.
        for variant, both in times.items():
            for side in (0, 1) if run % 2 else (1, 0):
                ms = sides[side].run(table, variant)
                if run:
                    both[side].append(ms)
    figures = {}
    for variant, (this, other) in times.items():
        ratio = paired_ratio(this, other)
        print(f'{variant:34} {summary(other).median:10.1f} {summary(this).median:10.1f} {ratio!s:>22}', flush=True)
        figures[variant] = {'this_ms': this, 'other_ms': other, 'ratio': ratio._asdict()}
    return figures


def main() -> None:
    """Compare the tables that were asked for."""
    parser = parser_of(__doc__, runs=15)
    parser.add_argument('--other', type=Path, metavar='PATH', help='root of the other checkout')
    parser.add_argument('--tables', nargs='+', default=TABLES, metavar='SCRIPT:CASE', help='default: %(default)s')
    parser.add_argument('--variants', nargs='+', default=VARIANTS)
    parser.add_argument('--worker', help='for the processes that this program starts')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options.device)
        return
    if options.other is None or not (options.other / 'mmseg_isda').is_dir():
        parser.exit(2, f'--other must be the root of a checkout of this project, got {options.other}\n')
    info, results, begin = machine(options.device), {}, time.time()
    print(describe(info))
    sides = [Checkout(path, options.threads, options.device) for path in (measure.ROOT, options.other.resolve())]
    for done, table in enumerate(options.tables, 1):
        results[table] = compare(table, sides, options.runs, options.variants)
        progress(done, len(options.tables), begin, 'tables')
    for side in sides:
        side.close()
    write_json(options.json, {'machine': info, 'results': results})


if __name__ == '__main__':
    main()
