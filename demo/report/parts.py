"""Small pieces of HTML that the sections of a report share. Text from outside is escaped where it enters the HTML."""

import math
from collections.abc import Sequence
from html import escape

from .records import RunRecord

MINUS, DASH = '\u2212', '\u2013'
PROTOCOLS = {'single_scale': 'Single scale', 'multi_scale': 'Multi-scale', 'multi_scale_flip': 'Multi-scale + flip'}
STYLES = ('a', 'b')  # CSS classes of the first and the second run


def protocol_label(key: str) -> str:
    return escape(PROTOCOLS.get(key, key))


def is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def format_percent(value: float | None) -> str:
    """Two decimals; a dash for a class that does not occur."""
    return DASH if is_missing(value) else f'{value:.2f}'


def format_difference(first: float | None, second: float | None) -> str:
    """The signed difference of the two figures *as shown*, so that the reader's own subtraction agrees."""
    if is_missing(first) or is_missing(second):
        return DASH
    text = f'{abs(round(second, 2) - round(first, 2)):.2f}'
    return text if text == '0.00' else ('+' if second > first else MINUS) + text


def difference_cell(first: float | None, second: float | None) -> str:
    text = format_difference(first, second)
    style = {'+': 'up', MINUS: 'down'}.get(text[0], 'even')
    return f'<td class="n {style}">{text}</td>'


def run_name(runs: Sequence[RunRecord], index: int) -> str:
    """A run's name behind a dot of its colour."""
    return f'<span class="run {STYLES[index]}">{escape(runs[index].name)}</span>'


def bar(value: float | None, style: str) -> str:
    width = 0.0 if is_missing(value) else min(100.0, max(0.0, value))
    return f'<span class="bar {style}" style="--v:{width:.2f}%"></span>'


def swatch(colour: Sequence[int]) -> str:
    return '<span class="swatch" style="background:#{:02x}{:02x}{:02x}"></span>'.format(*colour)


def section(key: str, title: str, content: str, *, about: str = '') -> str:
    lead = f'<p class="about">{escape(about)}</p>' if about else ''
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(title)}</h2>{lead}{content}</section>'
