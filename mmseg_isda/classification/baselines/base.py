"""What losses and heads for images with one class each share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.models.losses.utils import weight_reduce_loss
from mmpretrain.structures import DataSample
from torch import Tensor

from ...core import check_labels


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
        avg_factor: what a mean divides by, by default N; it cannot be combined with ``'sum'``.
        reduction_override: replaces ``reduction``.
    """
    weight = None if weight is None else weight.float()
    return weight_reduce_loss(losses, weight, reduction=reduction_override or reduction, avg_factor=avg_factor)


def check_hard_labels(label: Tensor, num_classes: int, owner: str) -> None:
    """Raise TypeError for labels that are not (N,) classes, and ValueError for one out of range (on the CPU)."""
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
