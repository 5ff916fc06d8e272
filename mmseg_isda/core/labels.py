"""What every loss does to labels: checks them, and brings them to the size of the features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _invalid(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    return (labels != ignore_index) & ((labels < 0) | (labels >= num_classes))


def check_labels(labels: Tensor, num_classes: int, ignore_index: int = 255, owner: str = '') -> None:
    """Raise for a label that is neither a class nor ``ignore_index``. Waits for the device.

    Args:
        labels: integers of any shape.
        num_classes: C; the classes are 0 to C - 1.
        ignore_index: the label of pixels that have no class.
        owner: classifier whose labels they are, for the message.

    Raises:
        ValueError: naming the first label that is out of range.
    """
    invalid = _invalid(labels, num_classes, ignore_index)
    if invalid.any():
        raise_invalid_label(int(labels[invalid][0]), num_classes, ignore_index, owner)


def raise_invalid_label(label: int, num_classes: int, ignore_index: int, owner: str = '') -> None:
    """Raise the ValueError that all checks of labels share."""
    whose = f' of {owner}' if owner else ''
    raise ValueError(
        f'labels{whose} hold the value {label}, but must lie in [0, {num_classes}) or equal '
        f'ignore_index={ignore_index}. Check num_classes of the head, the label mapping of the data set (e.g. '
        f'Cityscapes labelTrainIds, reduce_zero_label), seg_pad_val of the data preprocessor and ignore_index'
    )


def mask_invalid_labels(labels: Tensor, num_classes: int, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """Make labels that are out of range ignored ones, without waiting for the device.

    On an accelerator a bad label would end the process in a device-side assertion that names nothing. This way the
    iteration runs through, and the caller looks at the second result when it is ready.

    Args:
        labels: integers of any shape.
        num_classes: C; the classes are 0 to C - 1.
        ignore_index: the label of pixels that have no class.

    Returns:
        The labels, each bad one replaced by ``ignore_index``, and a scalar: a bad label if there is one, else any.
    """
    invalid = _invalid(labels, num_classes, ignore_index)
    suspect = labels.flatten().index_select(0, invalid.flatten().to(torch.uint8).argmax().view(1)).squeeze(0)
    return labels.masked_fill(invalid, ignore_index), suspect


def count_labels(labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return (C,) int64: how many labels there are of each class, without waiting for the device."""
    index = labels.flatten().long()
    index = index.masked_fill(index == ignore_index, num_classes)
    return index.new_zeros(num_classes + 1).index_add_(0, index, torch.ones_like(index))[:num_classes]


def resize_labels(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring label maps to another size by nearest neighbour, by the rule of ``F.interpolate(mode='nearest')``.

    Args:
        labels: (N, H, W) integers.
        size: (h, w) in pixels.

    Returns:
        (N, h, w) labels of the same type.
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    for axis, new in zip((-2, -1), size, strict=True):
        positions = torch.arange(labels.shape[axis], device=labels.device, dtype=torch.float64)
        labels = labels.index_select(axis, F.interpolate(positions[None, None], size=new).long().view(-1))
    return labels
