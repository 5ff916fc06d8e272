"""The cross entropy of a decode head, which the losses of this package are built on."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from ..core import ClassifierPass, fused_cross_entropy
from ..core.checks import REDUCTIONS, check_choice, check_class_weight, check_smoothing
from ..core.fused import upsampled_cross_entropy, wants_fusing
from ..engine.loss import LabelGuard
from ..files import read_class_weight


class HeadCrossEntropy:
    """Cross entropy of one decode head: the options of MMSegmentation's ``CrossEntropyLoss``, and a few more.

    Args:
        owner: class of the loss, for messages.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: weights of the classes, or a file that holds them (npy, json or yaml).
        avg_non_ignore: whether a mean leaves ignored pixels out.
        label_smoothing: share of the uniform target, as in ``torch.nn.functional.cross_entropy``; beyond the paper.
        align_corners: of the up-sampling of the logits; by default that of the head.
        fused: whether up-sampling, shift and cross entropy are one pass over the logits before up-sampling, in a
            fraction of the time and memory: ``'auto'``, where it pays, on the CPU and on CUDA; True; False. The results
            agree to 1e-6. It needs a head that does nothing but up-sample what its classifier makes, as almost all do.
        use_sigmoid: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring it along.

    Attributes:
        augment_at: placement of the shift.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        owner: type,
        *,
        reduction: str = 'mean',
        class_weight: list[float] | str | None = None,
        avg_non_ignore: bool = False,
        label_smoothing: float = 0.0,
        align_corners: bool | None = None,
        fused: bool | str = 'auto',
        use_sigmoid: bool = False,
    ) -> None:
        self.owner = owner.__name__
        if use_sigmoid:
            raise ValueError(
                f'use_sigmoid=True asks for a binary cross entropy, but {self.owner} is one of the softmax: set '
                f'use_sigmoid=False, and two output channels for two classes'
            )
        check_choice('reduction', reduction, REDUCTIONS)
        check_smoothing(label_smoothing)
        check_choice('fused', fused, ('auto', True, False))
        self.augment_at, self.reduction, self.avg_non_ignore = 'feature', reduction, avg_non_ignore
        if isinstance(class_weight, str | os.PathLike):
            class_weight = read_class_weight(class_weight)
        check_class_weight('class_weight', class_weight)
        self.class_weight = class_weight
        self.align_corners, self.fused, self.label_smoothing = align_corners, fused, label_smoothing
        self.guard = LabelGuard()

    def follow(self, head: nn.Module) -> None:
        """Learn how the head up-samples its logits."""
        if self.align_corners is None:
            self.align_corners = bool(getattr(head, 'align_corners', False))

    def checked(self, logits: Tensor, label: Tensor, ignore_index: int, classifier: str) -> Tensor:
        """Return (N, H, W) int64 labels that a look-up can take.

        Raises:
            ValueError: if the shapes, or the number of class weights, do not fit.
        """
        if self.class_weight is not None and len(self.class_weight) != logits.shape[1]:
            raise ValueError(
                f'class_weight has {len(self.class_weight)} values, but the head has num_classes={logits.shape[1]}: '
                f'name one weight for each class'
            )
        if label.dim() == 4 and 3 in (label.shape[1], label.shape[-1]):
            raise ValueError(
                f'the labels have 3 channels, {tuple(label.shape)}: they are color pictures. Store class numbers in '
                f'one-channel PNG files'
            )
        if logits.dim() != 4 or label.dim() != 3:
            raise ValueError(
                f'{self.owner} needs logits (N, C, H, W) and labels (N, H, W), got {tuple(logits.shape)} and '
                f'{tuple(label.shape)}: heads that classify points or tokens are not served'
            )
        return self.guard(label.long(), logits.shape[1], ignore_index, classifier)

    def wants_fusing(self, logits: Tensor, label: Tensor) -> bool:
        """See :func:`~mmseg_isda.core.fused.wants_fusing`."""
        return wants_fusing(self.fused, logits, label)

    def options(self, logits: Tensor, shift: Tensor | None, ignore_index: int) -> dict[str, Any]:
        """Return the options of the losses of :mod:`~mmseg_isda.core`."""
        class_weight = self.class_weight
        if class_weight is not None:
            # Shifted logits are float32 whatever the network computes in.
            dtype = logits.dtype if shift is None else torch.promote_types(logits.dtype, torch.float32)
            class_weight = logits.new_tensor(class_weight, dtype=dtype)
        return dict(
            class_weight=class_weight,
            ignore_index=ignore_index,
            reduction=self.reduction,
            avg_non_ignore=self.avg_non_ignore,
            augment_at=self.augment_at,
            label_smoothing=self.label_smoothing,
        )

    def __call__(
        self,
        logits: Tensor,
        label: Tensor,
        shift: Tensor | None,
        source: ClassifierPass | None,
        ignore_index: int,
        *,
        feature_size: tuple[int, int] | None = None,
        reduction_override: str | None = None,
        **call: Any,
    ) -> Tensor:
        """Return the loss of up-sampled logits; arguments as in ``upsampled_cross_entropy``."""
        call |= dict(feature_size=feature_size, align_corners=bool(self.align_corners), fused=self.fused)
        call = self.options(logits, shift, ignore_index) | call
        if reduction_override:
            call['reduction'] = reduction_override
        return upsampled_cross_entropy(logits, label, shift, source, **call)

    def at_feature_size(
        self, logits: Tensor, label: Tensor, shift: Tensor | None, ignore_index: int, align_corners: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of logits before up-sampling, and the top-1 accuracy in per cent, (1,)."""
        loss, accuracy = fused_cross_entropy(
            logits,
            label,
            shift,
            align_corners=align_corners,
            return_accuracy=True,
            **self.options(logits, shift, ignore_index),
        )
        return loss, accuracy.view(1)
