"""The tables of a report: scores, classes, and what was compared."""

from collections.abc import Sequence
from html import escape

from .parts import (
    DASH,
    PROTOCOLS,
    STYLES,
    bar,
    difference_cell,
    format_difference,
    format_percent,
    protocol_label,
    run_name,
    section,
    swatch,
)
from .pictures import Pictures
from .records import RunRecord, config_differences

METRICS = {'mIoU': 'mean IoU', 'mAcc': 'mean class accuracy', 'aAcc': 'pixel accuracy'}
FOLD_AFTER = 14  # a longer list of differing settings starts folded


def scores_section(runs: Sequence[RunRecord]) -> str:
    """mIoU, mAcc and aAcc of both runs and their differences at each protocol."""
    protocols = list(dict.fromkeys(key for run in runs for key in run.scores))
    if not protocols:
        return section(
            'scores',
            'Scores',
            '<p>Neither run is scored yet: <code>tools/test.py CONFIG CHECKPOINT '
            '--protocols --json RUN/scores.json</code> does it.</p>',
        )
    heads = ''.join(f'<th scope="col" class="n">{protocol_label(key)}</th>' for key in protocols)
    bodies = ''.join(_metric_rows(runs, protocols, metric, label) for metric, label in METRICS.items())
    table = (
        '<div class="card scroll"><table class="scores"><caption>Per cent on the validation images, last '
        'checkpoint</caption><thead><tr><th scope="col">Metric</th><th scope="col">Run</th>'
        f'{heads}</tr></thead>{bodies}</table></div>'
    )
    return section(
        'scores',
        'Scores',
        table,
        about="Multi-scale averages the network's outputs at several image "
        'sizes; flip adds the mirror image at each size.',
    )


def _metric_rows(runs: Sequence[RunRecord], protocols: Sequence[str], metric: str, label: str) -> str:
    values = [[run.scores.get(key, {}).get(metric) for key in protocols] for run in runs]
    rows = []
    for index, row in enumerate(values):
        bars = [bar(value, STYLES[index]) if metric == 'mIoU' else '' for value in row]
        cells = ''.join(f'<td class="n">{format_percent(v)}{drawn}</td>' for v, drawn in zip(row, bars, strict=True))
        head = (
            ''
            if index
            else (f'<th scope="rowgroup" rowspan="3" class="metric">{metric}<span class="label">{label}</span></th>')
        )
        rows.append(f'<tr>{head}<th scope="row">{run_name(runs, index)}</th>{cells}</tr>')
    differences = ''.join(difference_cell(*pair) for pair in zip(*values, strict=True))
    return f'<tbody>{"".join(rows)}<tr class="diff"><th scope="row">Difference</th>{differences}</tr></tbody>'


def classes_section(runs: Sequence[RunRecord], pictures: Pictures | None) -> str:
    """IoU of each class, at the first protocol for which both runs have it."""
    protocol = next((key for key in runs[0].scores if runs[1].scores.get(key, {}).get('IoU')), None)
    per_class = [run.scores.get(protocol, {}).get('IoU') or {} for run in runs]
    names = list(dict.fromkeys([*per_class[0], *per_class[1]]))
    if not names:
        return ''
    colours = dict(zip(pictures.classes, pictures.palette, strict=False)) if pictures else {}
    rows = ''.join(_class_row(name, [found.get(name) for found in per_class], colours.get(name)) for name in names)
    mean = _class_row('Mean', [run.scores[protocol].get('mIoU') for run in runs], None)
    heads = ''.join(f'<th scope="col" class="n">{run_name(runs, index)}</th>' for index in range(2))
    table = (
        f'<div class="card scroll"><table class="classes"><caption>IoU in per cent, {protocol_label(protocol)}'
        f'</caption><thead><tr><th scope="col">Class</th><td></td>{heads}<th scope="col" class="n">Difference'
        f'</th></tr></thead><tbody>{rows}</tbody><tfoot>{mean}</tfoot></table></div>'
    )
    return section('classes', 'Classes', table)


def _class_row(name: str, values: Sequence[float | None], colour: Sequence[int] | None) -> str:
    numbers = ''.join(f'<td class="n">{format_percent(value)}</td>' for value in values)
    bars = ''.join(bar(value, style) for value, style in zip(values, STYLES, strict=True))
    return (
        f'<tr><th scope="row">{swatch(colour) if colour else ""}{escape(name)}</th><td class="bars">{bars}</td>'
        f'{numbers}{difference_cell(*values)}</tr>'
    )


def setup_section(runs: Sequence[RunRecord]) -> str:
    """What was compared: config, iterations, seed, time, device, versions; and where the configs differ."""
    heads = ''.join(f'<th scope="col">{run_name(runs, index)}</th>' for index in range(2))
    columns = [{'Config': run.config, **run.facts} for run in runs]
    rows = ''.join(
        _fact_row(key, *(column.get(key) for column in columns)) for key in dict.fromkeys([*columns[0], *columns[1]])
    )
    table = (
        f'<div class="card scroll"><table class="setup"><caption>As the runs themselves recorded it</caption>'
        f'<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return section('setup', 'What was compared', table + _differences(runs, heads))


def _fact_row(key: str, first: str | None, second: str | None) -> str:
    if first == second:
        return f'<tr><th scope="row">{escape(key)}</th><td colspan="2">{escape(first or DASH)}</td></tr>'
    cells = ''.join(f'<td>{escape(value or DASH)}</td>' for value in (first, second))
    return f'<tr><th scope="row">{escape(key)}</th>{cells}</tr>'


def _differences(runs: Sequence[RunRecord], heads: str) -> str:
    differences = config_differences(*runs)
    if not differences:
        return '<p class="about below">The two configs are equal.</p>' if runs[0].settings else ''
    rows = ''.join(
        f'<tr><th scope="row" class="code">{escape(path)}</th>'
        + ''.join(f'<td class="code">{escape(value) if value is not None else DASH}</td>' for value in pair)
        + '</tr>'
        for path, *pair in differences
    )
    return (
        f'<details class="card"{" open" if len(differences) <= FOLD_AFTER else ""}>'
        f'<summary>Where the two configs differ ({len(differences)})</summary><div class="scroll">'
        '<table class="setup"><caption>All other settings are equal'
        f'</caption><thead><tr><th scope="col">Setting</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        '</div></details>'
    )


def text_table(runs: Sequence[RunRecord]) -> str:
    """mIoU of both runs at each protocol, for a terminal."""
    protocols = list(dict.fromkeys(key for run in runs for key in run.scores))
    if not protocols:
        return 'Neither run is scored yet.'
    values = [[run.scores.get(key, {}).get('mIoU') for key in protocols] for run in runs]
    rows = [[run.name, *map(format_percent, row)] for run, row in zip(runs, values, strict=True)]
    rows.append(['Difference', *(format_difference(*pair) for pair in zip(*values, strict=True))])
    rows.insert(0, ['mIoU in %', *(PROTOCOLS.get(key, key) for key in protocols)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        '  '.join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return '\n'.join([lines[0], '-' * len(lines[0]), *lines[1:]])
