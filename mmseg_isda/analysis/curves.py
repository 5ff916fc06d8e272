"""Validation over training (Fig. 5), for any set of finished runs: mean and spread over seeds."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .pictures import color_and_marker
from .runs import Run, add_run_options, mean_and_spread, runs_and_metric, title_of

MARKERS_AT_MOST = 30


def summarize(runs: list[Run], metric: str) -> dict[str, dict[str, Any]]:
    """Return the curve of each config: steps, mean and standard deviation over its runs, at the steps they share."""
    groups: dict[str, list[dict[int, float]]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run.curve(metric))
    curves = {}
    for name, members in groups.items():
        steps = sorted(set.intersection(*map(set, members)))
        pairs = [mean_and_spread([member[step] for member in members]) for step in steps]
        curves[name] = dict(
            runs=len(members), steps=steps, mean=[mean for mean, _ in pairs], spread=[spread for _, spread in pairs]
        )
    return curves


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``curves``."""
    add_run_options(parser)
    parser.add_argument('--begin', type=int, default=0, metavar='STEP', help='leave out what comes before')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Read and draw the runs."""
    runs, metric = runs_and_metric(args)
    curves = summarize(runs, metric)
    return dict(metric=metric, unit=runs[0].unit, curves=curves), draw(curves, metric, runs[0].unit, args.begin)


def draw(curves: dict[str, dict[str, Any]], metric: str, unit: str, begin: int = 0) -> Figure:
    """Draw what :func:`summarize` returned."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        steps, mean, spread = (np.asarray(curve[key]) for key in ('steps', 'mean', 'spread'))
        kept = steps >= begin
        color, marker = color_and_marker(index)
        label = f'{name} ({curve["runs"]} run{"s" if curve["runs"] > 1 else ""})'
        marker = marker if kept.sum() <= MARKERS_AT_MOST else None
        axes.plot(steps[kept], mean[kept], color=color, marker=marker, ms=4, label=label)
        axes.fill_between(steps[kept], (mean - spread)[kept], (mean + spread)[kept], color=color, alpha=0.2, lw=0)
    has_spread = any(curve['runs'] > 1 for curve in curves.values())
    axes.set(title=title_of(metric) + (': mean and standard deviation over seeds' if has_spread else ''), xlabel=unit)
    figure.legend(loc='outside lower left', fontsize=9)
    return figure
