"""How the parts of ISDA grow with the classes, the features, the image size and the number of processes.

Milliseconds of the statistics' update, of the table with its gradient, and of the fused loss with its gradient, and the
size of the statistics; then what the processes send one another in an iteration.

    python benchmarks/growth.py [--runs 9] [--json FILE]
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from measure import describe, interleaved, machine, parser_of, progress, summary, write_json
from workload import device, ignore_index, street_labels

from mmseg_isda.core import ClassCovariance, fused_cross_entropy, logit_shift, resize_labels

DEFAULT = dict(classes=19, features=512, low=64, kind='diagonal')
IMAGES = 2
# What is varied, and its values; the rest is DEFAULT.
AXES = {
    'classes': (10, 19, 50, 150, 500, 1000),
    'features': (128, 256, 512, 1024, 2048),
    'low': (32, 64, 97, 129),
}
FULL_MATRICES_MB = 1024  # the largest full statistics that are tried
RANKS = (1, 2, 4)
EXCHANGES = (
    (19, 512, 'diagonal'),
    (19, 512, 'full'),
    (150, 512, 'diagonal'),
    (150, 512, 'full'),
    (1000, 2048, 'diagonal'),
)


def parts(classes: int, features: int, low: int, kind: str) -> dict:
    """Name: call; beside the statistics, which the caller asks for their size."""
    torch.manual_seed(0)
    ignored = ignore_index(classes)
    labels = street_labels(IMAGES, classes, 8 * low)
    small = resize_labels(labels, (low, low))
    maps = torch.randn(IMAGES, features, low, low, device=device())
    logits = torch.randn(IMAGES, classes, low, low, device=device(), requires_grad=True)
    weight = torch.randn(classes, features, device=device(), requires_grad=True)
    statistics = ClassCovariance(classes, features, kind).to(device())
    present = statistics.update(maps, small, ignored).nonzero().squeeze(1)

    def table() -> None:
        logit_shift(weight, statistics.covariance, 1.0, classes=present).sum().backward()

    shift = torch.rand(classes, classes, device=device(), requires_grad=True)
    return {
        'statistics': lambda: statistics.update(maps, small, ignored),
        'table': table,
        'loss': lambda: fused_cross_entropy(
            logits, labels, shift, align_corners=False, ignore_index=ignored
        ).backward(),
        'size': sum(buffer.numel() * buffer.element_size() for buffer in statistics.buffers()),
    }


def measure(runs: int) -> dict:
    """Prints a table for each axis and kind and returns the figures."""
    results, begin, done = {}, time.time(), 0
    total = 2 * sum(len(values) for values in AXES.values())
    for kind in ('diagonal', 'full'):
        for axis, values in AXES.items():
            title = f'{axis}, {kind}'
            print(f'\n{title:24} {"statistics ms":>14} {"table ms":>10} {"loss ms":>10} {"statistics MB":>14}')
            results[title] = {}
            for value in values:
                done += 1
                settings = {**DEFAULT, 'kind': kind, axis: value}
                if kind == 'full' and 4 * settings['classes'] * settings['features'] ** 2 > FULL_MATRICES_MB << 20:
                    continue
                calls = parts(**settings)
                size = calls.pop('size') / 2**20
                figures = {name: summary(times)._asdict() for name, times in interleaved(calls, runs).items()}
                medians = [figures[name]['median'] for name in ('statistics', 'table', 'loss')]
                print('{:24} {:14.1f} {:10.1f} {:10.1f} {:14.2f}'.format(value, *medians, size), flush=True)
                results[title][value] = figures | {'statistics_mb': size}
                progress(done, total, begin, 'sizes')
    return results


def exchange(rank: int, ranks: int, folder: str, runs: int) -> None:
    """One of the processes that pool their statistics; the first writes down what it saw."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=ranks)
    sent, reduce = [], dist.all_reduce
    dist.all_reduce = lambda tensor, *args: sent.append(tensor.numel() * tensor.element_size()) or reduce(tensor, *args)
    lines = []
    for classes, features, kind in EXCHANGES:
        statistics = ClassCovariance(classes, features, kind)
        maps, labels = torch.randn(256, features), torch.randint(0, classes, (256,))
        sent.clear()
        times = interleaved({'update': lambda s=statistics, m=maps, y=labels: s.update(m, y)}, runs)['update']
        lines.append(f'{sent[0] if sent else 0} {len(sent) // (runs + 2)} {summary(times).median}')
    dist.destroy_process_group()
    if rank == 0:
        Path(folder, 'figures').write_text('\n'.join(lines))


def measure_ranks(runs: int) -> dict:
    """Prints what a process sends in one update, and its time; 256 samples a process."""
    print(f'\n{"statistics":28} {"processes":>9} {"all-reduces":>12} {"bytes":>14} {"update ms":>10}')
    results = {}
    for ranks in RANKS:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(exchange, (ranks, folder, runs), nprocs=ranks)
            lines = Path(folder, 'figures').read_text().splitlines()
        for (classes, features, kind), line in zip(EXCHANGES, lines, strict=True):
            size, calls, ms = (float(part) for part in line.split())
            name = f'C{classes} A{features} {kind}'
            print(f'{name:28} {ranks:9} {calls:12.0f} {size:14,.0f} {ms:10.1f}', flush=True)
            results.setdefault(name, {})[ranks] = {'bytes': size, 'all_reduces': calls, 'ms': ms}
    return results


def main() -> None:
    parser = parser_of(__doc__, allocators=False)
    options = parser.parse_args()
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    torch.set_num_threads(options.threads)
    info = machine()
    print(describe(info))
    figures = {'machine': info, 'results': measure(options.runs), 'ranks': measure_ranks(options.runs)}
    write_json(options.json, figures)


if __name__ == '__main__':
    main()
