"""What the numbers of a comparison say, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MINUS = '\u2212'
NAMES = {'accuracy/top1': 'top-1 accuracy'}
MANY = 1000  # seeds that nobody will run


def name_of(metric: str) -> str:
    """Return a metric in words."""
    return NAMES.get(metric, metric)


def number(value: float | None, digits: int = 2) -> str:
    """Return a figure with a true minus sign; a dash for what does not exist."""
    if value is None or not math.isfinite(value):
        return '\u2013'
    text = f'{abs(value):.{digits}f}'
    return MINUS + text if value < 0 and float(text) else text


def signed(value: float | None, digits: int = 2) -> str:
    """Return a difference with its sign; zero as it is shown has none."""
    text = number(value, digits)
    return f'+{text}' if value is not None and value > 0 and float(text) else text


def summary(entry: Mapping[str, Any], baseline: Mapping[str, Any], titles: Mapping[str, str], metric: str) -> list[str]:
    """Return sentences on the paired difference of a variant to the baseline.

    Args:
        entry: the variant, as ``mmseg-isda sweep`` describes it.
        baseline: the same of the baseline.
        titles: what to call both.
        metric: what the scores are.
    """
    name, other, found = titles[entry['name']], titles[baseline['name']], entry['difference']
    if not found:
        return [f'{name} and {other} have no seed in common that both finished, so they cannot be compared.']
    if found['low'] is None:
        return [
            f'One seed: {name} reaches {number(entry["mean"])} % {metric} and {other} {number(baseline["mean"])} %, '
            f'a difference of {signed(found["mean"])}.',
            'Runs that differ in nothing but the seed differ too, so one pair does not tell which is better.',
        ]
    return [
        f'Over {found["pairs"]} seeds {name} reaches {number(entry["mean"])} % {metric} on average and {other} '
        f'{number(baseline["mean"])} %. Paired by seed, the difference is {signed(found["mean"])}, with a 95 % '
        f'interval from {signed(found["low"])} to {signed(found["high"])}.',
        _judgment(found, name),
    ]


def _judgment(found: Mapping[str, Any], name: str) -> str:
    if found['low'] > 0:
        return f'The interval lies above zero: in this setting {name} scores higher.'
    if found['high'] < 0:
        return f'The interval lies below zero: in this setting {name} scores lower.'
    text = 'The interval contains zero: these runs do not show a difference.'
    needed = seeds_needed(found['mean'], found['std'])
    if needed and found['pairs'] < needed <= MANY:
        text += f' If the true difference were the one seen, about {needed} seeds would be needed to show it.'
    return text


def seeds_needed(mean: float, std: float) -> int | None:
    """Return the number of pairs whose 95 % interval has half the width ``mean``, about; None if it is zero."""
    return math.ceil((2 * std / mean) ** 2) if mean else None
