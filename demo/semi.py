"""Five to ten labels a class: the methods of Table 6 on handwritten digits, with and without ISDA, over several seeds.

    python -m demo.semi [--seeds 0 1 2 3 4] [--jobs 2] [--work-dir work_dirs/demo_semi]

Each seed draws the labeled digits anew, the same ones for all methods. Runs are forked from one process, which has the
toolkits loaded. Called again, it repeats no finished run. It writes semi.md, semi.json and semi.png.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mmseg_isda.commands import runs, train
from mmseg_isda.commands.records import write_json
from mmseg_isda.commands.statistics import paired_difference, summarize

from .steps import REPOSITORY, StepError, run_demo

CONFIGS = Path(os.path.relpath(REPOSITORY / 'configs' / 'digits' / 'semi'))
METHODS = {
    'labeled-only': 'labels alone',
    'pi': 'Pi-model',
    'temporal-ensembling': 'temporal ensembling',
    'mean-teacher': 'Mean Teacher',
    'vat': 'VAT',
}
KINDS = {'': 'plain', '_isda': 'ISDA'}
METRIC, LAST = 'accuracy/top1', 3
NOTE = (
    'Test error in per cent on the 500 test digits, mean of the last three of 12 epochs; ResNet-8, 50 labels. A small '
    'network on a small problem: it shows that everything works, and is no evidence for or against Table 6.'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2, 3, 4], metavar='N')
    parser.add_argument('--jobs', type=int, default=2, metavar='N', help='trainings side by side (default: 2)')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo_semi'))
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='changes to all configs')
    args = parser.parse_args()
    planned = plan(args.seeds, args.work_dir, args.cfg_options)
    failed = execute(planned, args.jobs)
    if failed:
        raise StepError('; '.join(failed))
    rows = summary(planned)
    write_json(args.work_dir / 'semi.json', rows)
    (args.work_dir / 'semi.md').write_text(table(rows) + '\n', encoding='utf-8')
    draw(rows, args.work_dir / 'semi.png')
    print(f'\n{table(rows)}\n\nwritten: {args.work_dir}/semi.md, .json, .png')


def plan(seeds: Sequence[int], work_dir: Path, options: Sequence[str] = ()) -> dict[tuple[str, str, int], runs.Run]:
    """Return the runs by method, kind and seed, seed by seed, each checked before the first one starts."""
    planned = {}
    for seed in seeds:
        for method in METHODS:
            for kind in KINDS:
                config = str(CONFIGS / f'{method}{kind}_resnet8_digits-50.py')
                variant = runs.Variant(f'{method}{kind}', config, {})
                place = 'train_dataloader.dataset.dataset' if method == 'labeled-only' else 'train_dataloader.dataset'
                draw_anew = f'{place}.seed={runs.SEED}'
                run = runs.plan_run(variant, seed, work_dir, [], [draw_anew, *options])
                run = replace(run, mark=runs.fingerprint(runs.configure(run)))
                runs.check_folder(run)
                planned[method, kind, seed] = run
    return planned


def execute(planned: Mapping[tuple, runs.Run], jobs: int) -> list[str]:
    """Train the runs that are not over, several side by side; return what went wrong."""
    waiting = [run for run in planned.values() if runs.read_result(run, tested=False) is None]
    print(f'{len(waiting)} of {len(planned)} trainings to go, {jobs} side by side ...', flush=True)
    started, failed = time.time(), []
    with multiprocessing.get_context('fork').Pool(jobs, maxtasksperchild=1) as pool:
        for done, (run, error) in enumerate(pool.imap_unordered(_train, waiting), start=1):
            left = (time.time() - started) / done * (len(waiting) - done) / 60
            score = error or f'{_error(run):.2f} % error'
            print(f'[{done}/{len(waiting)}] {run}: {score}; {left:.0f} min left', flush=True)
            if error:
                failed.append(f'{run}: {error}; see {run.folder / runs.LOG}')
    return failed


def _train(run: runs.Run) -> tuple[runs.Run, str | None]:
    """Train in this process, whose output goes to the log of the run."""
    torch.set_num_threads(1)
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / runs.LOG).open('a') as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
        parser = argparse.ArgumentParser()
        train.add_arguments(parser)
        _, *words = runs.training(run, test=False, metric=METRIC)
        try:
            train.run(parser.parse_args(words))
        except Exception as error:
            traceback.print_exc()
            return run, repr(error)
    return run, None


def _error(run: runs.Run) -> float:
    return 100 - runs.score_of(runs.read_result(run, tested=False), METRIC, last=LAST)


def summary(planned: Mapping[tuple[str, str, int], runs.Run]) -> list[dict[str, Any]]:
    """Return, for each method, the errors by seed without and with ISDA, their means, and the paired difference."""
    rows = []
    for method, title in METHODS.items():
        plain, isda = (
            {seed: _error(run) for (m, k, seed), run in planned.items() if (m, k) == (method, kind)} for kind in KINDS
        )
        both = {
            name: dict(errors=x, **asdict(summarize([*x.values()]))) for name, x in (('plain', plain), ('isda', isda))
        }
        rows.append(dict(method=title, **both, difference=asdict(paired_difference(isda, plain))))
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = ['| | plain | ISDA | difference | 95 % interval | seeds |', '|---|---|---|---|---|---|']
    for row in rows:
        found = row['difference']
        cells = [
            f'{x["mean"]:.2f}' + ('' if x['std'] is None else f' ± {x["std"]:.2f}') for x in (row['plain'], row['isda'])
        ]
        interval = '-' if found['low'] is None else f'{found["low"]:+.2f} to {found["high"]:+.2f}'
        cells += [f'{found["mean"]:+.2f}', interval, str(found['pairs'])]
        lines.append(f'| {row["method"]} | {" | ".join(cells)} |')
    return '\n'.join([*lines, '', NOTE])


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw each seed's errors with and without ISDA, and the means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout='constrained')
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        both = [[*row[name]['errors'].values()] for name in ('plain', 'isda')]
        axes.plot([place - 0.15, place + 0.15], both, color='0.8', zorder=1)
        for side, name, color in ((-0.15, 'plain', 'C0'), (0.15, 'isda', 'C1')):
            label = None if place else KINDS['' if name == 'plain' else '_isda']
            axes.scatter([place + side] * len(both[0]), row[name]['errors'].values(), s=12, color=color)
            axes.hlines(
                row[name]['mean'], place + side - 0.1, place + side + 0.1, color=color, linewidth=3, label=label
            )
    axes.set_xticks(range(len(rows)), [row['method'] for row in rows])
    axes.set_ylabel('test error, per cent')
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == '__main__':
    sys.exit(run_demo(main))
