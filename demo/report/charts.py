"""Charts as SVG images that follow the light or dark theme of the reader."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

LIGHT = {
    'page': '#f7f6f2', 'card': '#ffffff', 'ink': '#1c1e22', 'soft': '#5c616b', 'line': '#dedbd2', 'faint': '#eeece5',
    'track': '#e9e6de', 'a': '#3e6aa8', 'b': '#d95d0c', 'c': '#2f7d4f', 'd': '#7b4f9e',
}  # fmt: skip
DARK = {
    'page': '#131519', 'card': '#1b1e24', 'ink': '#e9e7e1', 'soft': '#a2a7b1', 'line': '#343842', 'faint': '#252932',
    'track': '#2b2f38', 'a': '#7aa5e4', 'b': '#ff8d42', 'c': '#6cc492', 'd': '#b893d8',
}  # fmt: skip
STYLES = 'abcd'  # of the variants, by turns; names of the colors above


@dataclass(frozen=True)
class Line:
    """A mean over seeds with its standard deviation, along steps."""

    style: str
    steps: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def theme(colors: dict[str, str]) -> str:
    """Return colors as declarations of CSS."""
    return ' '.join(f'--{name}: {value};' for name, value in colors.items())


def draw_differences(
    rows: Sequence[tuple[str, Sequence[float], float, float | None, float | None]], metric: str
) -> str:
    """Draw paired differences: each seed as a dot, their mean and its interval.

    Args:
        rows: style, differences, mean, low and high end of the interval for each variant, from top to bottom.
        metric: what was subtracted.

    Returns:
        The chart as a data URI.
    """
    with rc_context(_settings()):
        figure = Figure(figsize=(8.4, 0.75 + 0.75 * len(rows)), layout='constrained')
        axes = figure.add_subplot()
        axes.axvline(0, color=LIGHT['soft'], linewidth=1)
        for place, (style, differences, mean, low, high) in enumerate(rows):
            axes.plot(differences, np.full(len(differences), place + 0.22), 'o', color=LIGHT[style], alpha=0.45, ms=6)
            if low is not None:
                axes.plot([low, high], [place - 0.12] * 2, color=LIGHT[style], linewidth=3, solid_capstyle='butt')
            axes.plot(mean, place - 0.12, 'D', color=LIGHT[style], ms=8)
        axes.set(yticks=[], ylim=(len(rows) - 0.5, -0.5), xlabel=f'difference in {metric}, in points')
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -0.05 * (high - low)), max(high, 0.05 * (high - low)))
        axes.spines['left'].set_visible(False)
        axes.grid(axis='x')
        return _data_uri(figure)


def draw_lines(lines: Sequence[Line], *, x_label: str, markers: bool) -> str:
    """Draw means over seeds with a band of one standard deviation on both sides; the axes begin at zero."""
    with rc_context(_settings()):
        figure = Figure(figsize=(4.8, 2.7), layout='constrained')
        axes = figure.add_subplot()
        for line in lines:
            color = LIGHT[line.style]
            axes.fill_between(line.steps, line.mean - line.std, line.mean + line.std, color=color, alpha=0.2, lw=0)
            axes.plot(line.steps, line.mean, color=color, linewidth=2, marker='o' if markers else None, ms=4)
        _from_zero(axes)
        axes.set_xlabel(x_label)
        axes.grid(axis='y')
        return _data_uri(figure)


def _from_zero(axes: Axes) -> None:
    axes.set_xlim(0)
    axes.set_ylim(min(0, axes.get_ylim()[0]) if axes.dataLim.y0 < 0 else 0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _settings() -> dict:
    return {
        'svg.fonttype': 'none',
        'svg.hashsalt': 'mmseg_isda',
        'font.size': 10,
        'text.color': LIGHT['soft'],
        'axes.labelcolor': LIGHT['soft'],
        'axes.edgecolor': LIGHT['line'],
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.axisbelow': True,
        'grid.color': LIGHT['line'],
        'xtick.color': LIGHT['soft'],
        'ytick.color': LIGHT['soft'],
        'xtick.major.size': 0,
        'ytick.major.size': 0,
    }


def _data_uri(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :]  # without the document type, which names an address
    for name, color in LIGHT.items():
        svg = svg.replace(color, f'var(--{name})')
    style = f':root {{ {theme(LIGHT)} }} @media (prefers-color-scheme: dark) {{ :root {{ {theme(DARK)} }} }}'
    svg = svg.replace('<style type="text/css">', f'<style type="text/css">{style}', 1)
    return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode()).decode('ascii')
