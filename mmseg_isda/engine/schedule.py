"""The strength of the augmentation over training."""

from __future__ import annotations

from ..core.checks import check_choice

SCHEDULES = ('iter', 'epoch', 'constant')


def strength_at(
    lambda_0: float, schedule: str, *, iteration: int, max_iters: int, epoch: int, max_epochs: int
) -> float:
    r""":math:`\lambda` of an iteration: it grows to ``lambda_0`` as the covariances become trustworthy (Section 4.1).

    Args:
        lambda_0: its final value.
        schedule: ``'iter'``: :math:`\lambda_0 (t + 1) / T`; ``'epoch'``: :math:`\lambda_0 e / E`, constant within an
            epoch, as the authors train CIFAR and ImageNet; ``'constant'``: :math:`\lambda_0`, the ablation of Table 8.
        iteration: t, from 0.
        max_iters: T.
        epoch: e, from 0.
        max_epochs: E.

    Raises:
        ValueError: if ``schedule`` is unknown, or is ``'epoch'`` where training is not counted in epochs.
    """
    if schedule == 'iter':
        return lambda_0 * (iteration + 1) / max_iters
    if schedule == 'constant':
        return lambda_0
    check_choice('schedule', schedule, SCHEDULES)
    if max_epochs <= 1:
        raise ValueError(
            "schedule='epoch' needs more than one epoch: with IterBasedTrainLoop (max_epochs=1) lambda would stay 0. "
            "Use schedule='iter'."
        )
    return lambda_0 * epoch / max_epochs
