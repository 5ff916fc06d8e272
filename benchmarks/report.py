"""Draws the pictures of docs/performance.md and writes its tables from the JSON files that the benchmarks write.

    python benchmarks/report.py [--source work_dirs/benchmarks] [--write docs/performance.md]

Tables go to `tables.md`; with --write also into a document, between `<!-- NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from workload import Size

COLORS = {'default': '#4477aa', 'tuned': '#ee7733', 'memory': '#228833'}
LABELS = {'default': 'time, default allocator', 'tuned': 'time, tuned allocator', 'memory': 'peak memory'}
PARTS = {'statistics': '#4477aa', 'table': '#ee7733', 'loss': '#228833'}
AXES = {'classes': 'classes', 'features': 'features', 'low': 'height and width of the feature map'}
NOT_DRAWN = 'naive term'  # several times as long as the rest together
SHORT_MS = 10  # Beside a base that is shorter, a difference says more than a ratio.
NUMBERS = {1: 'one', 2: 'two', 3: 'three', 4: 'four'}
Figures = Mapping[str, Any]


def in_words(case: str) -> str:
    """Return a case as a reader would say it: ``N2C19`` is two images, 19 classes, 97x97 to 769x769."""
    network = re.fullmatch(r'(pspnet|deeplabv3)_r(\d+)-(\d+)x(\d+)(?:-C(\d+))?', case)
    if network:
        family, depth, images, crop, classes = network.groups()
        name = {'pspnet': 'PSPNet', 'deeplabv3': 'DeepLab-v3'}[family]
        return f'{name} with ResNet-{depth}, {_images(int(images))} of {crop}x{crop}, {classes or 19} classes'
    vectors = case.removesuffix('-vectors')
    if not re.fullmatch(r'N\d+C\d+(A\d+)?', vectors):
        return case
    size = Size.parse(vectors)
    if vectors != case:
        return f'{size.images} images, {size.classes} classes, {size.features} features'
    resized = f'{size.low}x{size.low} to {size.high}x{size.high}'
    return f'{_images(size.images)}, {size.classes} classes, {size.features} features, {resized}'


def _images(number: int) -> str:
    return f'{NUMBERS.get(number, number)} image{"s" if number > 1 else ""}'


# Tables


def cell(row: Figures, base: Figures, allocator: str) -> str:
    """Return milliseconds of the base itself, else the ratio with its spread, or what is added to a short base."""
    if row is base:
        return f'{row["median_ms"]:.{1 if row["median_ms"] < SHORT_MS else 0}f} ms'
    if base['median_ms'] < SHORT_MS:
        return f'{row["median_ms"] - base["median_ms"]:+.1f} ms'
    ratio = row['ratio']
    return f'{ratio["median"]:.2f} ({ratio["low"]:.2f} to {ratio["high"]:.2f})'


def memory_cell(row: Figures, base: Figures) -> str:
    """Return MB of the base itself or beside a short one, else the ratio."""
    if 'peak_mb' not in row:
        return '-'
    if row is base or base['median_ms'] < SHORT_MS:
        return f'{row["peak_mb"]:.0f} MB'
    return f'{row["memory_ratio"]:.2f}'


def cost_table(figures: Figures, cases: list[str]) -> list[str]:
    """Return a markdown table: a row for each variant, and columns of time and memory for each case."""
    runs = {allocator: run['results'] for allocator, run in figures.items()}
    first = next(iter(runs.values()))
    heads = [f'{case}, {name}' for case in cases for name in (*[f'time, {a}' for a in runs], 'memory')]
    lines = ['| | ' + ' | '.join(heads) + ' |', '|---' * (len(heads) + 1) + '|']
    for name in dict.fromkeys(name for case in cases for name in first[case]):
        cells = []
        for case in cases:
            base = next(iter(first[case].values()))
            for allocator, results in runs.items():
                rows = results[case]
                cells.append(cell(rows[name], next(iter(rows.values())), allocator) if name in rows else '-')
            cells.append(memory_cell(first[case][name], base) if name in first[case] else '-')
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    return lines


def rank_table(figures: Figures) -> list[str]:
    """Return the table of what processes send, of ``growth.py``."""
    lines = [
        '| Statistics | messages an iteration | bytes a process | update, 1 / 2 / 4 processes |',
        '|---|---|---|---|',
    ]
    for name, rows in figures['ranks'].items():
        two = rows['2']
        times = ' / '.join(f'{row["ms"]:.1f}' for row in rows.values())
        lines.append(f'| {name} | {two["messages"]} | {two["bytes"]:,} | {times} ms |')
    return lines


def error_table(figures: Figures) -> list[str]:
    """Return the table of the errors of low-rank covariances."""
    kinds = list(next(iter(figures['errors'].values())))
    lines = ['| Spectrum | ' + ' | '.join(kinds) + ' |', '|---' * (len(kinds) + 1) + '|']
    for name, row in figures['errors'].items():
        lines.append(f'| {name} | ' + ' | '.join(f'{error:.3f}' for error in row.values()) + ' |')
    return lines


def tables(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of each table whose figures are there."""
    for path in sorted(source.glob('*.json')):
        figures = json.loads(path.read_text(encoding='utf-8'))
        if path.stem == 'growth' and 'ranks' in figures:
            yield 'ranks', rank_table(figures)
        elif path.stem == 'low_rank':
            yield 'low_rank', error_table(figures)
        elif 'default' in figures:
            cases = figures['default']['results']
            yield path.stem, cost_table(figures, list(cases))


def write_into(document: Path, name: str, lines: list[str]) -> None:
    """Replace what stands between the marks of a table."""
    text = document.read_text(encoding='utf-8')
    pattern = re.compile(rf'(<!-- {name} -->\n).*?(<!-- end -->)', re.DOTALL)
    document.write_text(
        pattern.sub(lambda match: match[1] + '\n'.join(lines) + '\n' + match[2], text), encoding='utf-8'
    )


# Pictures


def bars(ax: Axes, figures: Figures, case: str) -> None:
    """Draw the ratios of each variant to the first: times with their spreads, and memory."""
    first = next(iter(figures.values()))['results'][case]
    names = [name for name in list(first)[1:] if name != NOT_DRAWN]
    series = {key: [run['results'][case][name]['ratio'] for name in names] for key, run in figures.items()}
    if all('memory_ratio' in first[name] for name in names):
        series['memory'] = [dict.fromkeys(('median', 'low', 'high'), first[name]['memory_ratio']) for name in names]
    height = 0.8 / len(series)
    for index, (key, ratios) in enumerate(series.items()):
        places = [row + (index - (len(series) - 1) / 2) * height for row in range(len(names))]
        medians = [ratio['median'] for ratio in ratios]
        spread = [[r['median'] - r['low'] for r in ratios], [r['high'] - r['median'] for r in ratios]]
        spread = None if key == 'memory' else spread
        ax.barh(places, medians, height, xerr=spread, color=COLORS[key], label=LABELS[key], ecolor='#555', capsize=2)
        for place, median in zip(places, medians, strict=True):  # in a column of their own, clear of bars and lines
            transform = ax.get_yaxis_transform()
            ax.text(1.02, place, f'{median:.2f}', transform=transform, va='center', fontsize=7, color=COLORS[key])
    ax.axvline(1, color='black', linewidth=1, zorder=0)
    ax.set_xlim(0, max(1.1, 1.05 * max(ratio['high'] for ratios in series.values() for ratio in ratios)))
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel('ratio to cross entropy (less is better)')
    ax.set_title(in_words(case).replace(' features, ', ' features,\n'), fontsize=9)
    ax.spines[['top', 'right']].set_visible(False)


def draw_ratios(figures: Figures, path: Path, title: str) -> None:
    """Draw one panel for each case of a benchmark."""
    results = next(iter(figures.values()))['results']
    cases = [case for case in results if not next(iter(results[case].values()))['median_ms'] < SHORT_MS]
    rows = max(len(results[case]) for case in cases)
    size = (5.2 * len(cases) + 0.8, 0.5 * rows + 1.8)
    figure, axes = plt.subplots(1, len(cases), figsize=size, squeeze=False, layout='constrained')
    for ax, case in zip(axes[0], cases, strict=True):
        bars(ax, figures, case)
    figure.suptitle(title, fontsize=11)
    _finish(figure, axes[0][0], path)


def draw_growth(figures: Figures, path: Path, title: str) -> None:
    """Draw milliseconds of each part over classes, features and image size with their spreads; full ones dashed."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(13, 4.2), sharey=True, layout='constrained')
    for ax, (axis, label) in zip(axes, AXES.items(), strict=True):
        for kind, style in (('diagonal', '-'), ('full', '--')):
            rows = figures['results'][f'{axis}, {kind}']
            for part, color in PARTS.items():
                if part == 'loss' and kind == 'full':
                    continue
                values = [int(value) for value in rows]
                low, median, high = ([row[part][key] for row in rows.values()] for key in ('low', 'median', 'high'))
                name = 'fused loss' if part == 'loss' else f'{part}, {kind}'
                ax.plot(values, median, style, marker='o', markersize=3, color=color, label=name)
                ax.fill_between(values, low, high, color=color, alpha=0.15, linewidth=0)
        ax.set_xscale('log')
        ax.set_yscale('log')
        ticks = [int(value) for value in figures['results'][f'{axis}, diagonal']]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel(label)
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].set_ylabel('milliseconds an iteration')
    figure.suptitle(title, fontsize=11)
    _finish(figure, axes[0], path)


def _finish(figure: plt.Figure, ax: Axes, path: Path) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


PICTURES: dict[str, tuple[Callable[[Figures, Path, str], None], str]] = {
    'head_cost': (draw_ratios, 'A decode head from the classifier on, forward and backward'),
    'train_step': (draw_ratios, 'A whole training step'),
    'growth': (draw_growth, 'Two images, 19 classes, 512 features, maps of 64x64; one of them varied'),
}


def main() -> None:
    """Draw and write what there are figures for."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--source', type=Path, default=Path('work_dirs/benchmarks'), help='folder of the JSON files')
    parser.add_argument('--write', type=Path, metavar='DOCUMENT', help='put the tables into it, the pictures beside it')
    options = parser.parse_args()
    pictures = options.write.parent / 'images' if options.write else options.source
    for name, (draw, title) in PICTURES.items():
        source = options.source / f'{name}.json'
        if source.exists():
            draw(json.loads(source.read_text(encoding='utf-8')), pictures / f'performance_{name}.png', title)
            print(f'drawn: {pictures}/performance_{name}.png')
        else:
            print(f'left out: there is no {source}')
    made = dict(tables(options.source))
    text = '\n\n'.join('\n'.join([f'**{name}**', '', *lines]) for name, lines in made.items())
    (options.source / 'tables.md').write_text(text + '\n', encoding='utf-8')
    for name, lines in made.items() if options.write else ():
        write_into(options.write, name, lines)


if __name__ == '__main__':
    main()
