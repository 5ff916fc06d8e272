"""Draws the figures of docs/performance.md from the JSON files that the benchmarks write.

python benchmarks/plots.py [--source work_dirs/benchmarks] [--out work_dirs/benchmarks]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = {'default': '#4477aa', 'tuned': '#ee7733', 'memory': '#228833'}
PARTS = {'statistics': '#4477aa', 'table': '#ee7733', 'loss': '#228833'}
LABELS = {'default': 'time, default allocator', 'tuned': 'time, tuned allocator', 'memory': 'peak memory'}
AXES = {'classes': 'classes', 'features': 'features', 'low': 'height and width of the feature map'}


def bars(ax: Axes, figures: dict[str, Any], case: str) -> None:
    """Ratios of each variant to plain cross entropy: time under both allocators, and memory. Log scale."""
    first = next(iter(figures.values()))['results'][case]
    names = [name for name in first if name != 'cross entropy']
    series = {name: [run['results'][case][n]['ratio']['median'] for n in names] for name, run in figures.items()}
    series['memory'] = [first[name]['memory_ratio'] for name in names]
    height = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        places = [row + (index - (len(series) - 1) / 2) * height for row in range(len(names))]
        drawn = ax.barh(places, values, height, color=COLOURS[name], label=LABELS[name])
        ax.bar_label(drawn, fmt='%.2f', padding=2, fontsize=7, bbox=dict(facecolor='white', edgecolor='none', pad=0.5))
    ax.axvline(1, color='black', linewidth=1, zorder=0)
    ax.set_xscale('log')
    highest = max(max(values) for values in series.values())
    lowest = min(min(values) for values in series.values())
    left, right = 0.7 * min(lowest, 0.5), 1.6 * max(highest, 1.2)
    ax.set_xlim(left, right)
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if left < tick < right]
    ax.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_title(case, fontsize=10)
    ax.spines[['top', 'right']].set_visible(False)


def draw_ratios(figures: dict[str, Any], path: Path, title: str) -> None:
    """One panel for each case of a benchmark."""
    cases = list(next(iter(figures.values()))['results'])
    rows = len(next(iter(figures.values()))['results'][cases[0]])
    figure, axes = plt.subplots(
        1, len(cases), figsize=(5.6 * len(cases) + 0.6, 0.52 * rows + 1.5), squeeze=False, layout='constrained'
    )
    for ax, case in zip(axes[0], cases, strict=True):
        bars(ax, figures, case)
        ax.set_xlabel('ratio to plain cross entropy (less is better)')
    figure.suptitle(title, fontsize=11)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_growth(figures: dict[str, Any], path: Path) -> None:
    """Milliseconds of each part over classes, features and image size; full covariances dashed."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(13, 3.9), sharey=True, layout='constrained')
    for ax, (axis, label) in zip(axes, AXES.items(), strict=True):
        for kind, style in (('diagonal', '-'), ('full', '--')):
            rows = figures['results'][f'{axis}, {kind}']
            for part, colour in PARTS.items():
                if part == 'loss' and kind == 'full':
                    continue
                values = [row[part]['median'] for row in rows.values()]
                name = part if part == 'loss' else f'{part}, {kind}'
                ax.plot([int(v) for v in rows], values, style, marker='o', markersize=3, color=colour, label=name)
        ax.set_xscale('log')
        ax.set_yscale('log')
        ticks = [int(value) for value in figures['results'][f'{axis}, diagonal']]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(label)
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel('ms an iteration')
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--source', type=Path, default=Path('work_dirs/benchmarks'), help='folder of the JSON files')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmarks'), help='folder of the pictures')
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    drawings = {
        'head_cost': lambda figures, path: draw_ratios(figures, path, 'Decode head from the classifier on'),
        'train_step': lambda figures, path: draw_ratios(figures, path, 'Whole training step'),
        'growth': draw_growth,
    }
    for name, draw in drawings.items():
        source = options.source / f'{name}.json'
        if source.exists():
            target = options.out / f'performance_{name}.png'
            draw(json.loads(source.read_text()), target)
            print(f'drawn: {target}')
        else:
            print(f'left out: there is no {source}')


if __name__ == '__main__':
    main()
