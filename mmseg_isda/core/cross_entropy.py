"""The losses of the paper as functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_loss
from .labels import check_labels, resize_labels
from .shift import add_shift

EPS = torch.finfo(torch.float32).eps  # MMSegmentation's guard against a division by zero where every pixel is ignored.


def isda_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    shift: Tensor | None,
    *,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    avg_non_ignore: bool = False,
    augment_at: str = 'feature',
    feature_size: tuple[int, ...] | None = None,
    align_corners: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Cross entropy of logits that are shifted according to the label: the upper bound of Eq. 7.

    .. math::
        \ell_i = -\log \frac{\exp z_{i y_i}}{\sum_j \exp(z_{ij} + \mathrm{shift}_{y_i j})}

    With ``shift=None`` this is plain cross entropy, operation by operation that of MMSegmentation's
    ``CrossEntropyLoss``, whose rules the weights and the reductions follow.

    Args:
        logits: (P, C) or (N, C, *spatial), plain (not shifted).
        labels: (P,) or (N, *spatial) integers.
        shift: (C, C) from :func:`~mmseg_isda.core.logit_shift`, or None.
        weight: (P,) or (N, *spatial), multiplies the loss of each pixel.
        class_weight: (C,), multiplies the loss of the pixels of each class.
        ignore_index: label of pixels without loss and shift.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: what a mean divides by; by default the number of pixels, or the sum of their class weights.
        avg_non_ignore: count only pixels that are not ignored in that default.
        augment_at: ``'feature'``: the shift is made at ``feature_size`` with labels taken by nearest neighbor and
            up-sampled bilinearly like the logits, which equals shifting the logits before the up-sampling, as that is
            linear; ``'label'``: each pixel is shifted by its own label.
        feature_size: (h, w) of the features, for ``augment_at='feature'``; by default that of the labels, where both
            placements are the same.
        align_corners: of the bilinear up-sampling, for ``augment_at='feature'``.
        label_smoothing: share of the uniform target, as in ``torch.nn.functional.cross_entropy``; the logits are
            raised by the table of the hard label. Beyond the paper.

    Returns:
        A scalar, or the shape of ``labels`` for ``reduction='none'``.

    Raises:
        ValueError: for an unknown option, shapes that do not fit, a label that is out of range (on the CPU), or an
            ``avg_factor`` with ``reduction='sum'``.
    """
    _check(logits, labels, shift, weight, feature_size)
    check_loss(augment_at=augment_at, reduction=reduction, avg_factor=avg_factor, label_smoothing=label_smoothing)
    num_classes = logits.shape[1]
    try:
        if shift is not None:
            logits = _shifted(logits, labels, shift, ignore_index, augment_at, feature_size, align_corners)
        loss = F.cross_entropy(
            logits, labels, class_weight, ignore_index=ignore_index, reduction='none', label_smoothing=label_smoothing
        )
    except (IndexError, RuntimeError):  # On the CPU the look-ups find a bad label at no cost, but do not name it.
        check_labels(labels, num_classes, ignore_index)
        raise
    if weight is not None:
        loss = loss * weight.float()
    if reduction != 'mean':
        return loss.sum() if reduction == 'sum' else loss
    if avg_factor is None:
        avg_factor = default_avg_factor(labels, class_weight, ignore_index, avg_non_ignore)
    return loss.sum() / (avg_factor + EPS)


def _check(logits, labels, shift, weight, feature_size) -> None:
    num_classes, expected = logits.shape[1], (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        raise ValueError(
            f'labels must have shape {expected} for logits of {tuple(logits.shape)}, got {tuple(labels.shape)}'
        )
    if shift is not None and tuple(shift.shape) != (num_classes, num_classes):
        raise ValueError(f'shift must have shape {(num_classes, num_classes)}, got {tuple(shift.shape)}')
    if weight is not None and weight.shape != labels.shape:
        raise ValueError(f'weight must have the shape of labels, {tuple(labels.shape)}, got {tuple(weight.shape)}')
    if feature_size is not None and logits.dim() != 4:
        raise ValueError(f'feature_size goes with logits of shape (N, C, H, W), got {tuple(logits.shape)}')


def _shifted(logits, labels, shift, ignore_index, augment_at, feature_size, align_corners) -> Tensor:
    size = tuple(labels.shape[1:])
    if augment_at == 'label' or feature_size is None or tuple(feature_size) == size:
        return add_shift(logits, labels, shift, ignore_index)
    low = add_shift(None, resize_labels(labels, feature_size), shift, ignore_index)
    up = F.interpolate(low, size=size, mode='bilinear', align_corners=align_corners)
    if torch.promote_types(up.dtype, logits.dtype) == up.dtype:
        return up.add_(logits)  # In place: the up-sampled shift is as large as the logits.
    return up + logits


def default_avg_factor(
    labels: Tensor, class_weight: Tensor | None, ignore_index: int, avg_non_ignore: bool
) -> int | Tensor:
    """What a mean divides by: the pixels, or the sum of their class weights; the rule of MMSegmentation.

    Infinite where every label has weight 0, so that the mean is 0 there: label smoothing gives such pixels a loss too.
    """
    if class_weight is not None:
        ignored = labels == ignore_index
        weights = class_weight[labels.masked_fill(ignored, 0)]
        total = weights.masked_fill(ignored, 0).sum()
        return total.masked_fill(total == 0, torch.inf)
    return (labels != ignore_index).sum() if avg_non_ignore else labels.numel()


def mean_shift(shift: Tensor, count: Tensor) -> Tensor:
    """Return how strong the augmentation is: the mean shift of the wrong classes' logits over the labeled pixels.

    Args:
        shift: (C, C), row y for label y.
        count: (C,) pixels of each class.

    Returns:
        A scalar in units of logits; 0 if there is no labeled pixel.
    """
    per_label = shift.detach().sum(1) / (len(shift) - 1)
    return (per_label * count).sum() / count.sum().clamp_min(1)


@torch.no_grad()
def mean_margin(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Return by how much a network is sure of its labels: the mean of the label's logit less the largest other one.

    Of (N, C, *spatial) plain logits and (N, *spatial) labels; 0 if there is no labeled pixel.
    """
    valid = labels != ignore_index
    own = labels.masked_fill(~valid, 0).clamp(0, logits.shape[1] - 1).unsqueeze(1)
    others = logits.scatter(1, own, -torch.inf).amax(1).float()
    margin = logits.gather(1, own).squeeze(1).float() - others
    return margin.masked_fill(~valid, 0).sum() / valid.sum().clamp_min(1)
