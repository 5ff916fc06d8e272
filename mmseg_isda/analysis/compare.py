"""Explicit augmentation against ISDA (Fig. 10): the error of finished runs over the number of samples."""

from __future__ import annotations

import argparse
import math
from typing import Any

from matplotlib.figure import Figure
from mmengine.config import Config

from ..config_tree import iter_dicts, type_name
from ..errors import OptionError
from .pictures import COLORS, GRAY
from .runs import Run, add_run_options, mean_and_spread, runs_and_metric, title_of

ESTIMATED, LEARNED = 'estimated', 'learned'


def samples_of(cfg: Config) -> tuple[float, str]:
    """Return how many samples a config augments each feature by, and where its covariances come from.

    It is 0 for a loss without augmentation, ``math.inf`` for ISDA.
    """
    for _, node in iter_dicts(cfg.get('model') or {}):
        kind = type_name(node.get('type'))
        if kind == 'ExplicitSDALoss':
            count = node.get('num_samples', 1)
            return math.inf if count is None else count, LEARNED if node.get('learned') else ESTIMATED
        if kind == 'ISDALoss' and node.get('lambda_0', 1) > 0:
            return math.inf, ESTIMATED
    return 0, ESTIMATED


def summarize(runs: list[Run], metric: str, last: int) -> dict[str, dict[float, dict[str, Any]]]:
    """Return mean and standard deviation over runs, by source of the covariances and number of samples.

    A run counts with the mean of its ``last`` validations.
    """
    scores: dict[tuple[str, float], list[float]] = {}
    for run in runs:
        count, source = samples_of(run.cfg)
        curve = list(run.curve(metric).values())[-last:]
        scores.setdefault((source, count), []).append(sum(curve) / len(curve))
    table: dict[str, dict[float, dict[str, Any]]] = {}
    for (source, count), values in sorted(scores.items()):
        mean, spread = mean_and_spread(values)
        table.setdefault(source, {})[count] = dict(runs=len(values), mean=mean, spread=spread)
    return table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    add_run_options(parser)
    parser.add_argument('--last', type=int, default=10, help='validations at the end that count (10)')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Read and draw the runs."""
    runs, metric = runs_and_metric(args)
    table = summarize(runs, metric, args.last)
    if sum(map(len, table.values())) < 2:
        raise OptionError('compare needs runs of two settings at least, such as CrossEntropyLoss and ExplicitSDALoss')
    named = {source: {name_of(count): entry for count, entry in row.items()} for source, row in table.items()}
    return dict(metric=metric, last=args.last, scores=named), draw(table, metric)


def name_of(count: float) -> str:
    """Return how a number of samples is written."""
    return '∞' if math.isinf(count) else str(count)


def draw(table: dict[str, dict[float, dict[str, Any]]], metric: str) -> Figure:
    """Draw what :func:`summarize` returned: one place for each number of samples, none of it to scale."""
    figure = Figure(figsize=(6.5, 4))
    axes = figure.subplots()
    counts = sorted({count for row in table.values() for count in row})
    for index, (source, row) in enumerate(table.items()):
        augmented = {count: entry for count, entry in row.items() if count > 0}
        mean, spread = ([entry[key] for entry in augmented.values()] for key in ('mean', 'spread'))
        if augmented:
            places = [counts.index(count) + 0.06 * (2 * index - 1) for count in augmented]
            look = dict(color=COLORS[index], marker='os'[index], capsize=4, label=f'{source} covariances')
            axes.errorbar(places, mean, yerr=spread, **look)
    base = table.get(ESTIMATED, {}).get(0)
    if base is not None:
        axes.axhspan(base['mean'] - base['spread'], base['mean'] + base['spread'], color=GRAY, alpha=0.25, lw=0)
        axes.axhline(base['mean'], color=GRAY, ls='--', label='nothing augmented (M = 0)')
    names = [f'{name_of(count)}{" (ISDA)" if math.isinf(count) else ""}' for count in counts]
    axes.set_xticks(range(len(counts)), names)
    axes.set(title=title_of(metric), xlabel='samples of each feature, M', xlim=(-0.5, len(counts) - 0.5))
    figure.legend(loc='outside lower left', ncols=3, fontsize=9)
    return figure
