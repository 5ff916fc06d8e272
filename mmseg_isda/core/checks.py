"""Checks of options that several losses share."""

from __future__ import annotations

from collections.abc import Sequence

REDUCTIONS = ('none', 'mean', 'sum')
PLACEMENTS = ('feature', 'label')
LARGEST_LAMBDA = 1e6


def check_choice(name: str, value: object, choices: Sequence) -> None:
    """Raise ValueError if the value of an option is none of its choices (1 is not True)."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, got {value!r}')


def check_lambda(lambda_0: float) -> None:
    """Raise ValueError if ``lambda_0`` is negative, not finite or beyond all sense."""
    if not 0 <= lambda_0 <= LARGEST_LAMBDA:
        raise ValueError(f'lambda_0 must lie in [0, 1e6], got {lambda_0}')


def check_strength(strength: object) -> None:
    """Raise ValueError if lambda of an iteration, unless it is a tensor, is a negative number."""
    if isinstance(strength, int | float) and not strength >= 0:
        raise ValueError(f'strength (lambda) must be 0 or more, got {strength}')


def check_smoothing(label_smoothing: float) -> None:
    """Raise ValueError if ``label_smoothing`` is not in [0, 1)."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f'label_smoothing must lie in [0, 1), got {label_smoothing}')


def check_loss(*, augment_at: str, reduction: str, avg_factor: object = None, label_smoothing: float = 0.0) -> None:
    """Raise ValueError if an option of a loss is out of range, or ``avg_factor`` comes with a sum."""
    check_choice('augment_at', augment_at, PLACEMENTS)
    check_choice('reduction', reduction, REDUCTIONS)
    check_smoothing(label_smoothing)
    if avg_factor is not None and reduction == 'sum':
        raise ValueError("avg_factor divides a mean: it cannot be used with reduction='sum'")
