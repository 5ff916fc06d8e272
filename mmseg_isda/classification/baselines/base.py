"""What the baselines that are a function of logits and labels share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.losses.utils import weight_reduce_loss
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...core import check_labels
from ...core.checks import REDUCTIONS, check_choice


class LabelLoss(nn.Module):
    """Base of losses with one value for each image, weighted and averaged as MMPretrain's ``CrossEntropyLoss`` does.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: factor of the loss.

    Raises:
        ValueError: if ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        self.reduction, self.loss_weight = reduction, loss_weight

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return (N,) losses of (N, C) logits and (N,) labels."""
        raise NotImplementedError

    def forward(self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, **call: Any) -> Tensor:
        """Return the loss of one head.

        Args:
            cls_score: (N, C) logits.
            label: (N,) integers.
            weight: (N,) weight of each image.
            call: options of :func:`reduced` for this call.

        Raises:
            TypeError: if the labels are soft.
            ValueError: if a label is out of range (on the CPU).
        """
        check_hard_labels(label, cls_score.shape[1], type(self).__name__)
        return self.loss_weight * reduced(self.losses(cls_score, label.long()), weight, self.reduction, **call)


def reduced(
    losses: Tensor,
    weight: Tensor | None,
    reduction: str,
    *,
    avg_factor: float | Tensor | None = None,
    reduction_override: str | None = None,
) -> Tensor:
    """Weight and average losses by the rules of MMPretrain's ``CrossEntropyLoss``, to the last bit.

    Args:
        losses: (N,).
        weight: (N,) weight of each image.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: what a mean divides by, by default N.
        reduction_override: replaces ``reduction``.

    Raises:
        ValueError: if ``avg_factor`` comes with the reduction ``'sum'``.
    """
    weight = None if weight is None else weight.float()
    return weight_reduce_loss(losses, weight, reduction=reduction_override or reduction, avg_factor=avg_factor)


def check_hard_labels(label: Tensor, num_classes: int, owner: str) -> None:
    """Refuse labels that are not (N,) classes.

    Raises:
        TypeError: if they are soft.
        ValueError: if one is out of range (on the CPU).
    """
    if label.is_floating_point() or label.dim() != 1:
        raise TypeError(
            f'{owner} needs one class for each image, (N,) integers, got {tuple(label.shape)}, {label.dtype}: remove '
            f'the batch augmentations that mix labels'
        )
    if label.device.type == 'cpu':
        check_labels(label, num_classes)


def hard_labels(data_samples: Sequence[DataSample], num_classes: int, owner: str, device: torch.device) -> Tensor:
    """Return the (N,) classes of the samples; see :func:`check_hard_labels`."""
    if any('gt_label' not in sample for sample in data_samples):
        raise TypeError(
            f'{owner} needs one class for each image, but the samples hold soft targets: remove the batch '
            f'augmentations that mix labels (Mixup, CutMix in model.train_cfg.augments)'
        )
    labels = torch.cat([sample.gt_label for sample in data_samples]).to(device)
    check_hard_labels(labels, num_classes, owner)
    return labels
