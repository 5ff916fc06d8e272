"""How strong ISDA was and what came of it, over tasks: the plot and the table of docs/when-does-isda-help.md.

    python -m benchmarks.advice 'digits, 10 labels=work_dirs/few_labels/digits.json#report 10' \\
        'CamVid=work_dirs/camvid/sweep.json' --out docs/images/advice.png

A task is TITLE=FILE: a JSON file of `benchmarks.few_labels`, with #STAGE LABELS, or the sweep.json of a sweep over
lambda_0. The strength is the mean shift over the mean margin of the plain logits at the end of training; what came of
it is the difference in the test score to cross entropy of the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.report.records import curve, read_scalars, read_settings
from mmseg_isda.commands.statistics import Difference, paired_difference

LAST = 5  # entries of a log that make the end of training


@dataclass(frozen=True)
class Point:
    """One setting of ISDA on one task; shift and margin in logits, means over seeds.

    Attributes:
        name: the setting.
        kind: ``'full'`` or ``'diagonal'``.
        shift: mean shift of the wrong classes' logits.
        margin: mean margin of the plain logits.
        train: accuracy on the training images, in per cent.
        difference: to cross entropy, in points of the test score.
    """

    name: str
    kind: str
    shift: float
    margin: float
    train: float
    difference: Difference


def of_few_labels(path: Path, group: str) -> Iterator[Point]:
    """Yield the settings of ISDA alone that ``benchmarks.few_labels`` ran, for one stage and number of labels."""
    every = json.loads(path.read_text())
    base = {int(seed): run['test'] for seed, run in every[f'{group} cross entropy'].items()}
    for name, runs in every.items():
        setting = name.removeprefix(f'{group} ')
        others = ('smoothing', 'memory', 'decay', 'gamma')
        if not name.startswith(f'{group} lambda_0') or any(other in setting for other in others) or len(runs) < 2:
            continue
        shift, margin, train = (np.mean([run[key] for run in runs.values()]) for key in ('shift', 'margin', 'train'))
        difference = paired_difference({int(seed): run['test'] for seed, run in runs.items()}, base)
        if difference is not None:
            kind = 'diagonal' if 'diagonal' in setting else 'full'
            yield Point(setting, kind, float(shift), float(margin), float(train), difference)


def of_sweep(path: Path) -> Iterator[Point]:
    """Yield the variants of a sweep that are not its baseline."""
    comparison = json.loads(path.read_text())
    for variant in comparison['variants']:
        if variant['difference'] is None:
            continue
        folders = [Path(run['folder']) for run in comparison['runs'] if run['variant'] == variant['name']]
        ends = np.array([_end_of(folder) for folder in folders])
        shift, margin, train = ends.mean(0).tolist()
        yield Point(variant['name'], _kind_of(folders[0]), shift, margin, train, Difference(**variant['difference']))


def _kind_of(folder: Path) -> str:
    settings = read_settings(folder)
    default = "'diagonal'" if "'ISDASegLoss'" in settings.values() else "'full'"
    return next((value for key, value in settings.items() if key.endswith('.covariance')), default).strip("'")


def _end_of(folder: Path) -> tuple[float, ...]:
    """Return shift, margin and training accuracy of the decode head, or the only head, at the end of a run."""
    scalars = read_scalars(folder)
    ends = ([value for _, value in curve(scalars, name)[-LAST:]] for name in ('isda_shift', 'isda_margin', 'acc_seg'))
    return tuple(float(np.mean(values)) for values in ends)


def read_task(word: str) -> tuple[str, list[Point]]:
    """Return the title and the points of ``TITLE=FILE`` or ``TITLE=FILE#STAGE LABELS``, the weakest first."""
    title, _, place = word.partition('=')
    path, _, group = place.partition('#')
    points = of_few_labels(Path(path), group) if group else of_sweep(Path(path))
    return title, sorted(points, key=lambda point: point.shift / point.margin)


def rows(tasks: dict[str, list[Point]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield '| Task | Setting | Shift | Margin | Shift / margin | Training accuracy, % | Difference | Seeds |'
    yield '|---|---|---|---|---|---|---|---|'
    for title, points in tasks.items():
        for point in points:
            found = point.difference
            interval = '' if found.low is None else f' [{found.low:+.2f}, {found.high:+.2f}]'
            ratio = point.shift / point.margin
            yield (
                f'| {title} | {point.name} | {point.shift:.2f} | {point.margin:.2f} | {ratio:.2f} | {point.train:.1f} '
                f'| {found.mean:+.2f}{interval} | {found.pairs} |'
            )


def draw(tasks: dict[str, list[Point]], path: Path) -> None:
    """Draw a panel for each task: the difference with its 95 % interval over shift / margin."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    columns = min(3, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    size = (3.6 * columns, 3.2 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout='constrained')
    for axis in axes.flat[len(tasks) :]:
        axis.axis('off')
    for axis, (title, points) in zip(axes.flat, tasks.items(), strict=False):
        for kind, color in (('full', '#4477aa'), ('diagonal', '#ee7733')):
            mine = [point for point in points if point.kind == kind]
            found = [point.difference for point in mine]
            half = [0 if one.low is None else one.mean - one.low for one in found]
            places = [point.shift / point.margin for point in mine]
            axis.errorbar(
                places, [one.mean for one in found], yerr=half, marker='o', capsize=3, color=color, label=kind
            )
        axis.axhline(0, color='black', linewidth=1, zorder=0)
        axis.set_xlim(left=0)
        axis.set_title(title, fontsize=10)
        axis.spines[['top', 'right']].set_visible(False)
    figure.supxlabel('shift / margin at the end', fontsize=10)
    figure.supylabel('difference to cross entropy, points', fontsize=10)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tasks', nargs='+', metavar='TITLE=FILE')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/advice.png'), help='of the plot')
    args = parser.parse_args()
    tasks = dict(map(read_task, args.tasks))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(tasks, args.out)
    print('\n'.join(rows(tasks)))


if __name__ == '__main__':
    main()
