"""How tight the bound is (Fig. 9): the loss of Eq. 7 against a Monte-Carlo estimate of the expectation of Eq. 6."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor

from .pictures import COLORS, GRAY
from .sources import Case, add_source_options, load_cases, pairs_of

ELEMENTS_AT_A_TIME = 1 << 22
LOG_FROM = 30  # ratio of losses from which on the axis is logarithmic
MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of lambda, where there is one checkpoint alone


def bound_losses(logits: Tensor, labels: Tensor, shift: Tensor) -> Tensor:
    """Return the (N,) losses of Eq. 7; row y of ``shift`` (C, C) is for label y, logits (N, C) are plain."""
    return F.cross_entropy(logits + shift[labels].to(logits.dtype), labels, reduction='none')


def expected_losses(
    logits: Tensor,
    labels: Tensor,
    gram: Tensor,
    strength: float,
    *,
    num_samples: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Estimate the expected losses of Eq. 6 by sampling, in bounded memory.

    A feature moved by :math:`\delta \sim N(0, \lambda \Sigma_y)` has logits moved by :math:`W \delta \sim N(0, \lambda
    W \Sigma_y W^T)`: it is exact, and cheaper, to sample those.

    Args:
        logits: (N, C) plain logits.
        labels: (N,) int64.
        gram: (C, C, C) :math:`W \Sigma_y W^T` of each class y.
        strength: lambda.

    Returns:
        (N,) means, and (N,) their squared standard errors.
    """
    logits, means, errors = logits.double(), torch.zeros(len(labels)).double(), torch.zeros(len(labels)).double()
    for label in labels.unique().tolist():
        values, vectors = torch.linalg.eigh(strength * gram[label].double())
        root = vectors * values.clamp_min(0).sqrt()
        own = (labels == label).nonzero().squeeze(1)
        for part in own.split(max(1, ELEMENTS_AT_A_TIME // (num_samples * len(root)))):
            noise = torch.randn(len(part), num_samples, len(root), dtype=torch.float64, generator=generator)
            moved = (logits[part].unsqueeze(1) + noise @ root.mT).flatten(0, 1)
            target = labels[part].repeat_interleave(num_samples)
            losses = F.cross_entropy(moved, target, reduction='none').view(len(part), num_samples)
            means[part], errors[part] = losses.mean(1), losses.var(1) / num_samples
    return means, errors


def measure(
    case: Case, strength: float, *, num_samples: int = 1000, generator: torch.Generator | None = None
) -> dict[str, float]:
    """Return the mean losses at one strength over the images visited, and the gap in per cent of the expectation."""
    trained, sample = case.trained.needs_statistics(), case.sample
    shift = trained.statistics.shift(trained.weight, strength)
    gram = trained.statistics.gram(trained.weight)
    means, errors = expected_losses(
        sample.logits, sample.labels, gram, strength, num_samples=num_samples, generator=generator
    )
    weight = sample.importance
    bound = float(weight @ bound_losses(sample.logits.double(), sample.labels, shift))
    expected = float(weight @ means)
    return {
        'lambda': strength,
        'cross_entropy': float(weight @ F.cross_entropy(sample.logits, sample.labels, reduction='none').double()),
        'expected': expected,
        'standard_error': float((weight.square() @ errors).sqrt()),
        'bound': bound,
        'gap_percent': 100 * (bound - expected) / expected,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bound``."""
    add_source_options(parser, split='train', per_class=200)
    parser.add_argument('--samples', type=int, default=1000, help='of each expectation (1000)')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Measure one checkpoint over lambda, or several over training."""
    options = dict(num_samples=args.samples, generator=torch.Generator().manual_seed(args.seed))
    is_alone = len(pairs_of(args.sources)) == 1
    rows, paths, unit, mark = [], [], 'lambda', None
    for case in load_cases(args):
        trained = case.trained.needs_statistics()
        paths.append(str(trained.path))
        if is_alone:
            mark = trained.strength
            strengths = [factor * mark for factor in MULTIPLES]
            rows = [{'at': at, **measure(case, at, **options)} for at in track(strengths, 'Sampling', transient=True)]
        else:
            unit = trained.unit
            rows.append({'at': trained.step, **measure(case, trained.strength, **options)})
    return dict(checkpoints=paths, over=unit, num_samples=args.samples, rows=rows), draw(rows, unit, mark)


def draw(rows: Sequence[dict[str, float]], unit: str, mark: float | None = None) -> Figure:
    """Draw the losses, and the gap between them, over ``at`` in each row; ``mark`` is the lambda of the checkpoint."""
    figure = Figure(figsize=(8, 3.6))
    left, right = figure.subplots(1, 2)
    at, expected, bound, gap, plain, error = (
        np.array([row[key] for row in rows])
        for key in ('at', 'expected', 'bound', 'gap_percent', 'cross_entropy', 'standard_error')
    )
    left.plot(at, bound, color=COLORS[1], marker='s', label='ISDA: the bound (Eq. 7)')
    _draw_with_band(left, at, expected, 2 * error, color=COLORS[0], marker='o', label='Expected loss, sampled (Eq. 6)')
    left.plot(at, plain, color=COLORS[6], ls='--', lw=1.2, label='Cross entropy, nothing augmented')
    left.set(title='Mean loss', yscale='log' if bound.max() > LOG_FROM * plain.min() > 0 else 'linear')
    _draw_with_band(right, at, gap, 200 * error * bound / expected**2, color=COLORS[1], marker='s')
    right.set(title='How far the bound is too high, %', ylim=(min(0, gap.min()), None))
    for axes in (left, right):
        axes.set_xlabel('λ (dotted: that of the checkpoint)' if unit == 'lambda' else unit)
        if mark is not None:
            axes.axvline(mark, color=GRAY, lw=1, ls=':')
    figure.legend(loc='outside upper left', ncols=3, fontsize=9)
    return figure


def _draw_with_band(axes: Axes, at: np.ndarray, values: np.ndarray, spread: np.ndarray, *, color: str, **look) -> None:
    axes.plot(at, values, color=color, **look)
    axes.fill_between(at, values - spread, values + spread, color=color, alpha=0.3, lw=0)
