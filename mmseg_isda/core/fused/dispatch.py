"""Choose between the fused pass and plain PyTorch."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..cross_entropy import isda_cross_entropy
from ..graph import upsampling_of
from ..tap import ClassifierPass
from .function import fused_cross_entropy, should_fuse

MEASURED_ON = ('cpu', 'cuda')


def wants_fusing(fused: bool | str, logits: Tensor, labels: Tensor) -> bool:
    """Whether an option ``fused`` asks for the fused pass: True, or ``'auto'`` where it pays, on measured devices."""
    return fused is True or (fused == 'auto' and labels.device.type in MEASURED_ON and should_fuse(logits, labels))


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    shift: Tensor | None,
    source: ClassifierPass | None,
    *,
    feature_size: tuple[int, ...] | None,
    align_corners: bool,
    fused: bool | str = 'auto',
    name: str = 'the classifier',
    **options: Any,
) -> Tensor:
    """Return the cross entropy of logits at the size of the labels, by the fused pass where that pays (Eq. 7).

    Args:
        logits: (N, C, H, W) up-sampled, or (N, C, h, w) as they leave the classifier.
        labels: (N, H, W) int64.
        shift: (C, C) shift table, or None.
        source: the pass of the classifier that the logits come from, if it is known.
        name: of the classifier, for messages.
        feature_size, align_corners, options: of :func:`~mmseg_isda.core.isda_cross_entropy`.

    Raises:
        RuntimeError: for ``fused=True`` where the logits are not a bilinear up-sampling of the classifier's output.
    """
    if logits.shape[2:] != labels.shape[1:]:
        if wants_fusing(fused, logits, labels):
            return fused_cross_entropy(logits, labels, shift, align_corners=align_corners, **options)
        logits = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    elif source is not None and source.logits is not None:
        small, is_map = source.logits, source.logits.dim() == 4  # tokens do not tell their grid
        if is_map and wants_fusing(fused, small, labels) and upsampling_of(logits, source) == align_corners:
            return fused_cross_entropy(small, labels, shift, align_corners=align_corners, **options)
        if fused is True:
            raise RuntimeError(
                f'fused=True, but the logits of the loss are not the up-sampled output of {name}: the head changes '
                f"them on the way. Set fused='auto' or False"
            )
    return isda_cross_entropy(logits, labels, shift, feature_size=feature_size, align_corners=align_corners, **options)
