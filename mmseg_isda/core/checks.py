"""Checks of options that several losses share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

REDUCTIONS = ('none', 'mean', 'sum')
PLACEMENTS = ('feature', 'label')
LARGEST_LAMBDA = 1e6


def check_choice(name: str, value: object, choices: Sequence) -> None:
    """Raise ValueError if the value of an option is none of its choices (1 is not True)."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, got {value!r}')


def check_lambda(lambda_0: float) -> None:
    """Raise ValueError if ``lambda_0`` is negative, not finite or beyond all sense."""
    if not isinstance(lambda_0, Real) or not 0 <= lambda_0 <= LARGEST_LAMBDA:
        raise ValueError(f'lambda_0 must lie in [0, 1e6], got {lambda_0!r}')


def check_rank(rank: int) -> None:
    """Raise ValueError if the rank of a covariance is no whole number from 1."""
    if not isinstance(rank, Integral):
        raise ValueError(f'rank must be a whole number, got {rank!r}')
    if rank < 1:
        raise ValueError(f'rank must be at least 1, got {rank}')


def check_class_weight(name: str, weight: Tensor | Sequence[float] | None) -> None:
    """Raise ValueError if weights of classes are no finite numbers from 0."""
    if weight is None or (isinstance(weight, Tensor) and weight.is_meta):
        return
    try:
        values = torch.as_tensor(weight, dtype=torch.float64, device='cpu')
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f'{name} must hold a number a class, got {weight!r}') from error
    if not (values.isfinite() & (values >= 0)).all():
        raise ValueError(f'{name} must hold finite numbers, 0 or more, got {values.tolist()}')


def check_strength(strength: object) -> None:
    """Raise ValueError if lambda of an iteration, unless it is a tensor, is a negative number."""
    if isinstance(strength, int | float) and not strength >= 0:
        raise ValueError(f'strength (lambda) must be 0 or more, got {strength}')


def check_smoothing(label_smoothing: float) -> None:
    """Raise ValueError if ``label_smoothing`` is not in [0, 1)."""
    if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing < 1:
        raise ValueError(f'label_smoothing must lie in [0, 1), got {label_smoothing!r}')


def check_focal(alpha: float, gamma: float) -> None:
    """Raise ValueError if ``alpha`` or ``gamma`` of a focal loss is out of range."""
    if not isinstance(alpha, Real) or not 0 < alpha < math.inf:
        raise ValueError(f'alpha must be a number above 0, got {alpha!r}')
    # Below 1 the derivative is infinite at p = 1.
    if not isinstance(gamma, Real) or not (gamma == 0 or 1 <= gamma < math.inf):
        raise ValueError(f'gamma must be 0, or a number from 1, got {gamma!r}')


def check_loss(*, augment_at: str, reduction: str, avg_factor: object = None, label_smoothing: float = 0.0) -> None:
    """Raise ValueError if an option of a loss is out of range, or ``avg_factor`` comes with a sum."""
    check_choice('augment_at', augment_at, PLACEMENTS)
    check_choice('reduction', reduction, REDUCTIONS)
    check_smoothing(label_smoothing)
    if avg_factor is not None and reduction == 'sum':
        raise ValueError("avg_factor divides a mean: it cannot be used with reduction='sum'")
