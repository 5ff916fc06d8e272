"""What the covariances hold: eigenvalues, what cheaper covariances lose, and which classes ISDA separates."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from .pictures import COLORS
from .sources import Case, add_source_options, load_cases

RANKS = (4, 8, 16, 32, 64)
NAMES_AT_MOST = 30  # classes that an axis can name


def eigenvalues(matrix: Tensor) -> Tensor:
    """Return the (A,) eigenvalues of a covariance (A, A), the largest first; rounding below zero is cut off."""
    return torch.linalg.eigvalsh(matrix.double()).flip(0).clamp_min(0)


def effective_rank(values: Tensor) -> float:
    """Return the exponential of the entropy of eigenvalues: n where n are equal and the others zero."""
    share = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return float(torch.special.entr(share).sum().exp())


def held_by_rank(values: Tensor, ranks: Sequence[int] = RANKS) -> dict[int, float]:
    """Return the share of the variance along the r strongest directions, for each r below the number of features."""
    return {rank: float(values[:rank].sum() / values.sum()) for rank in ranks if rank < len(values)}


def held_by_diagonal(matrix: Tensor) -> float:
    """Return the share of the squared entries of a covariance that are on its diagonal: 1 if nothing correlates."""
    return float(matrix.diagonal().square().sum() / matrix.square().sum())


def cheaper_matrices(matrix: Tensor, shared: Tensor, ranks: Sequence[int] = RANKS) -> dict[str, Tensor]:
    """Return what each setting of ``covariance`` but ``'full'`` keeps of a covariance (A, A).

    ``shared`` (A, A) is that of all features together; a low rank keeps as many directions and the exact variance of
    every feature.
    """
    values, vectors = torch.linalg.eigh(matrix)
    kept = {'identity': torch.eye(len(matrix)).to(matrix), 'shared': shared, 'diagonal': matrix.diagonal().diag()}
    for rank in ranks:
        if rank < len(matrix):
            strongest = (vectors[:, -rank:] * values[-rank:].clamp_min(0)) @ vectors[:, -rank:].T
            rest = (matrix.diagonal() - strongest.diagonal()).clamp_min(0)
            kept[f'rank {rank}'] = strongest + rest.diag()
    return kept


def quadratic_forms(weight: Tensor, label: int, matrix: Tensor) -> Tensor:
    """Return (C,) forms (w_j - w_y)' Sigma (w_j - w_y) for one class y: its shifts, but for lambda/2."""
    difference = weight - weight[label]
    return ((difference @ matrix) * difference).sum(1)


def compare_forms(truth: Tensor, cheaper: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return how well cheaper covariances reproduce the shifts, once ``lambda_0`` makes up for their size.

    By name of the (K, C) forms of K classes: ``lambda_0_factor``, which gives the same mean shift as the true ones, and
    ``error`` (K,), the mean deviation that is left in the shifts of each class, over their mean.
    """
    compared = {}
    for name, forms in cheaper.items():
        factor = truth.sum() / forms.sum()
        error = (factor * forms - truth).abs().sum(1) / truth.sum(1)
        compared[name] = dict(lambda_0_factor=float(factor), error=error)
    return compared


def weight_distance(weight: Tensor) -> float:
    """Return the mean distance between two rows of a classifier's weight (C, A)."""
    return float(torch.pdist(weight).mean())


def covariance_of(features: Tensor) -> Tensor:
    """Return the biased covariance (A, A) of features (N, A), in float64."""
    return torch.cov(features.double().T, correction=0)


def measure(case: Case) -> dict[str, Any]:
    """Return the numbers of each class, the classifier's mean distance, and the table of shifts where there is one."""
    trained, sample = case.trained, case.sample
    weight, shared = trained.weight.double(), covariance_of(sample.features)
    kept = trained.statistics if getattr(trained.statistics, 'kind', None) == 'full' else None
    numbers: dict[str, Any] = dict(
        checkpoint=str(trained.path),
        covariances='of the checkpoint' if kept else 'of the features collected',
        mean_weight_distance=weight_distance(trained.weight),
        classes={},
    )
    forms: dict[str, list[Tensor]] = {}
    for label in sample.classes:
        features = sample.features[sample.labels == label]
        matrix = covariance_of(features) if kept is None else kept.covariance[label].double()
        values = eigenvalues(matrix)
        for name, other in ({'full': matrix} | cheaper_matrices(matrix, shared)).items():
            forms.setdefault(name, []).append(quadratic_forms(weight, label, other))
        numbers['classes'][case.names[label]] = dict(
            samples=len(features),
            effective_rank=effective_rank(values),
            held_by_rank=held_by_rank(values),
            held_by_diagonal=held_by_diagonal(matrix),
            eigenvalues=values,
        )
    truth, *cheaper = map(torch.stack, forms.values())
    numbers['cheaper'] = compare_forms(truth, dict(zip(list(forms)[1:], cheaper, strict=True)))
    if trained.statistics is not None and trained.strength is not None:
        present = torch.tensor(sample.classes)
        shift = trained.statistics.shift(trained.weight, trained.strength)
        numbers |= {'lambda': trained.strength, 'shift': shift[present][:, present]}
    return numbers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``spectrum``."""
    add_source_options(parser, split='train', per_class=2000)


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Measure and draw one checkpoint."""
    numbers = measure(next(load_cases(args)))
    return numbers, draw(numbers)


def draw(numbers: dict[str, Any]) -> Figure:
    """Draw what :func:`measure` returned."""
    figure = Figure(figsize=(9, 7.4))
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    classes = numbers['classes']
    _draw_variance(top_left, [entry['eigenvalues'].numpy() for entry in classes.values()])
    _draw_errors(top_right, numbers['cheaper'])
    _draw_ranks(bottom_left, {name: entry['effective_rank'] for name, entry in classes.items()})
    if 'shift' in numbers:
        _draw_shift(bottom_right, numbers['shift'].numpy(), list(classes), numbers['lambda'])
    else:
        bottom_right.set_axis_off()
    return figure


def _draw_variance(axes: Axes, spectra: Sequence[np.ndarray]) -> None:
    share = np.stack([np.cumsum(values) / values.sum() for values in spectra]) * 100
    at = np.arange(1, share.shape[1] + 1)
    axes.fill_between(at, share.min(0), share.max(0), color=COLORS[0], alpha=0.25, lw=0, label='from class to class')
    axes.plot(at, share.mean(0), color=COLORS[0], label='mean of the classes')
    axes.set(title='Variance along the strongest directions, %', xlabel='directions', ylim=(0, 102), xlim=(0, len(at)))
    axes.legend(loc='lower right')


def _draw_errors(axes: Axes, cheaper: dict[str, dict[str, Any]]) -> None:
    errors = 100 * np.stack([entry['error'].numpy() for entry in cheaper.values()])
    mean = errors.mean(1)
    spread = np.stack([mean - errors.min(1), errors.max(1) - mean])
    names = [f'{name}, x {entry["lambda_0_factor"]:.2g}' for name, entry in cheaper.items()]
    colors = [COLORS[0] if name.startswith('rank') else COLORS[1] for name in cheaper]
    axes.barh(names, mean, xerr=spread, color=colors, capsize=3, error_kw=dict(lw=1, ecolor='black'))
    _name_bars(axes)
    axes.set(title='Error of the shifts with a cheaper covariance, %')
    axes.set_xlabel('x: factor of λ₀ for the same mean shift; whiskers: from class to class', fontsize=8)


def _draw_ranks(axes: Axes, ranks: dict[str, float]) -> None:
    axes.barh(list(ranks), list(ranks.values()), color=COLORS[2])
    _name_bars(axes)
    axes.set(title='Effective rank of each covariance', xlabel='directions')
    if len(ranks) > NAMES_AT_MOST:
        axes.set_yticks([])


def _name_bars(axes: Axes) -> None:
    """Put the first horizontal bar on top, and the grid along the values."""
    axes.invert_yaxis()
    axes.grid(axis='y', visible=False)
    axes.grid(axis='x', visible=True)


def _draw_shift(axes: Axes, shift: np.ndarray, names: Sequence[str], strength: float) -> None:
    image = axes.imshow(shift, vmin=0)
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, label='logits')
    axes.set(title=f'Shift of the wrong logits, at λ = {strength:.3g}', ylabel='true class', xlabel='wrong class')
    if len(names) <= NAMES_AT_MOST:
        rotation = 90 if max(map(len, names)) > 2 else 0
        axes.set_xticks(range(len(names)), names, rotation=rotation)
        axes.set_yticks(range(len(names)), names)
