"""Line charts as inline SVG, coloured by the page's style sheet so that they follow its light and dark themes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 58, 14, 38
LABEL_GAP = 16  # least distance between the values at the ends of two lines


@dataclass(frozen=True)
class Series:
    """One line: its label, its points (x, y) in order of x, and its CSS class."""

    label: str
    points: Sequence[tuple[float, float]]
    style: str


def line_chart(title: str, series: Sequence[Series], *, x_label: str = 'iteration', markers: bool = False) -> str:
    """Draw lines over a common x axis; both axes start at zero unless a value is below it.

    Args:
        title: For those who hear the page instead of seeing it.
        series: The lines; those without points are left out.
        x_label: What x counts.
        markers: Whether to mark each point.

    Raises:
        ValueError: if no series has a point.
    """
    series = [line for line in series if line.points]
    if not series:
        raise ValueError(f'series: chart {title!r} got no points; leave the chart out')
    x_ticks = nice_ticks(0, max(x for line in series for x, _ in line.points))
    values = [y for line in series for _, y in line.points]
    y_ticks = nice_ticks(min(0, *values), max(0, *values))
    x_end = max(x for line in series for x, _ in line.points) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / x_end
        span = (y_ticks[-1] - y_ticks[0]) or 1
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_ticks[0]) / span

    lines = [(line, [place(*point) for point in line.points]) for line in series]
    body = [_grid(y_ticks, place), _x_axis([t for t in x_ticks if t <= x_end], x_label, place)]
    body += [_line(line, path, markers) for line, path in lines]
    body.append(_end_values(lines))
    label = escape(_spoken(title, series))
    svg = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return svg + ''.join(body) + '</svg>'


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers at equal distances that enclose ``low`` and ``high``."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * count >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def format_value(value: float) -> str:
    """Three significant digits, without an exponent where it can be helped."""
    if value == 0:
        return '0'
    if abs(value) < 1e-4 or abs(value) >= 1e6:
        return f'{value:.2e}'
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f'{value:.{digits}f}'


def _spoken(title: str, series: Sequence[Series]) -> str:
    ends = [
        f'{line.label} from {format_value(line.points[0][1])} to {format_value(line.points[-1][1])}' for line in series
    ]
    return f'{title}: ' + '; '.join(ends)


def _grid(ticks: Sequence[float], place) -> str:
    rows = []
    for tick in ticks:
        y = place(0, tick)[1]
        style = ' class="base"' if tick == 0 else ''
        rows.append(
            f'<line{style} x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 9}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    return '<g class="grid">' + ''.join(rows) + '</g>'


def _x_axis(ticks: Sequence[float], label: str, place) -> str:
    marks = [
        f'<text x="{place(tick, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    ]
    name = (
        f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}" text-anchor="middle">'
        f'{escape(label)}</text>'
    )
    return '<g class="grid">' + ''.join(marks) + name + '</g>'


def _line(line: Series, path: Sequence[tuple[float, float]], markers: bool) -> str:
    points = ' '.join(f'{x:.1f},{y:.1f}' for x, y in path)
    parts = [f'<polyline points="{points}"/>']
    for (x, y), (step, value) in zip(path, line.points, strict=True):
        # Every point answers the mouse, also those that are not drawn.
        tip = escape(f'{line.label}, {step:g}: {format_value(value)}')
        dot = '' if markers or len(path) == 1 else ' class="hidden"'
        parts.append(f'<circle{dot} cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{tip}</title></circle>')
    return f'<g class="{escape(line.style)}">' + ''.join(parts) + '</g>'


def _end_values(lines: Sequence[tuple[Series, Sequence[tuple[float, float]]]]) -> str:
    """The last value of each line beside its end, moved apart where two would touch."""
    ends = sorted(((path[-1][1], path[-1][0], line) for line, path in lines), key=lambda end: end[:2])
    texts, last = [], -math.inf
    overflow = max(0.0, ends[-1][0] + LABEL_GAP * (len(ends) - 1) - (HEIGHT - BOTTOM + LABEL_GAP))
    for y, x, line in ends:
        last = max(y - overflow, last + LABEL_GAP)
        texts.append(
            f'<text class="end {escape(line.style)}" x="{x + 8:.1f}" y="{last + 4.5:.1f}">'
            f'{format_value(line.points[-1][1])}</text>'
        )
    return ''.join(texts)
