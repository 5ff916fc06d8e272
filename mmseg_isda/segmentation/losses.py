"""The losses that a segmentation config names in ``loss_decode``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core import ClassifierPass, ClassifierTap, fused_cross_entropy, mean_shift, resize_labels, shift_table
from ..core.checks import PLACEMENTS, REDUCTIONS, check_choice, check_class_weight, check_smoothing
from ..core.fused import upsampled_cross_entropy
from ..core.graph import check_unchanged, map_size
from ..engine.loss import ISDALossBase, LabelGuard, drop_statistics, refuse_unknown_options
from ..files import read_class_weight

# The pass of the classifier, the (C, C) shift table and the size of the features; each None where there is none.
Augmentation = tuple[ClassifierPass | None, Tensor | None, tuple[int, ...] | None]


class HeadCrossEntropy:
    """Cross entropy of one decode head: the options of MMSegmentation's ``CrossEntropyLoss``, and a few more.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: weights of the classes, or a file that holds them (npy, json or yaml).
        avg_non_ignore: whether a mean leaves ignored pixels out.
        label_smoothing: share of the uniform target, as in ``torch.nn.functional.cross_entropy``; beyond the paper.
        align_corners: of the up-sampling of the logits; by default that of the head.
        fused: whether up-sampling, shift and cross entropy are one pass over the logits before up-sampling, in a
            fraction of the time and memory: ``'auto'``, where it pays, on the CPU and on CUDA; True; False. The results
            agree to 1e-6. It needs a head that does nothing but up-sample what its classifier makes, as almost all do.
        use_sigmoid: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring it along.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        *,
        reduction: str = 'mean',
        class_weight: list[float] | str | None = None,
        avg_non_ignore: bool = False,
        label_smoothing: float = 0.0,
        align_corners: bool | None = None,
        fused: bool | str = 'auto',
        use_sigmoid: bool = False,
    ) -> None:
        if use_sigmoid:
            raise ValueError(
                'use_sigmoid=True asks for a binary cross entropy, but this loss is one of the softmax: set '
                'use_sigmoid=False, and two output channels for two classes'
            )
        check_choice('reduction', reduction, REDUCTIONS)
        check_smoothing(label_smoothing)
        check_choice('fused', fused, ('auto', True, False))
        if isinstance(class_weight, str | os.PathLike):
            class_weight = read_class_weight(class_weight)
        check_class_weight('class_weight', class_weight)
        self.reduction, self.class_weight, self.avg_non_ignore = reduction, class_weight, avg_non_ignore
        self.align_corners, self.fused, self.label_smoothing = align_corners, fused, label_smoothing

    def follow(self, head: nn.Module) -> None:
        """Learn how the head up-samples its logits."""
        if self.align_corners is None:
            self.align_corners = bool(getattr(head, 'align_corners', False))

    def __call__(
        self,
        loss: ISDASegLoss | FusedCrossEntropyLoss,
        logits: Tensor,
        label: Tensor,
        ignore_index: int,
        *,
        before_upsampling: bool = False,
        reduction_override: str | None = None,
        **call: Any,
    ) -> Any:
        """Return the value of a loss; for logits ``before_upsampling`` also the top-1 accuracy in per cent, (1,)."""
        name = loss.tap.name if loss.tap is not None else ''
        self._check(logits, label)
        label = loss.guard(label.long(), logits.shape[1], ignore_index, name)
        source, shift, size = loss.augmentation(logits, label, ignore_index)
        call |= self._options(logits, shift, reduction_override) | dict(ignore_index=ignore_index)
        call.setdefault('align_corners', bool(self.align_corners))
        if before_upsampling:
            value, accuracy = fused_cross_entropy(logits, label, shift, return_accuracy=True, **call)
            result = loss.loss_weight * value, accuracy.view(1)
        else:
            call |= dict(feature_size=size, fused=self.fused, name=name)
            result = loss.loss_weight * upsampled_cross_entropy(logits, label, shift, source, **call)
        if source is not None:
            loss.tap.take(source)
        return result

    def _check(self, logits: Tensor, label: Tensor) -> None:
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
                f'the loss needs logits (N, C, H, W) and labels (N, H, W), got {tuple(logits.shape)} and '
                f'{tuple(label.shape)}: heads that classify points or tokens are not served'
            )

    def _options(self, logits: Tensor, shift: Tensor | None, reduction_override: str | None) -> dict[str, Any]:
        class_weight = self.class_weight
        if class_weight is not None:
            # Shifted logits are float32 whatever the network computes in.
            dtype = logits.dtype if shift is None else torch.promote_types(logits.dtype, torch.float32)
            class_weight = logits.new_tensor(class_weight, dtype=dtype)
        return dict(
            class_weight=class_weight,
            reduction=reduction_override or self.reduction,
            avg_non_ignore=self.avg_non_ignore,
            label_smoothing=self.label_smoothing,
        )


@MODELS.register_module()
class ISDASegLoss(ISDALossBase):
    r"""Cross entropy that augments the feature of every pixel implicitly (Eq. 7 of the paper).

    Takes the place of ``CrossEntropyLoss`` in ``loss_decode`` of a decode or auxiliary head; ``ISDAHook`` must be among
    the hooks. Each head keeps its own statistics, saved with the model. In evaluation it is plain cross entropy.

    Args:
        lambda_0: final strength of the augmentation; with 0 the loss equals ``CrossEntropyLoss``.
        covariance: ``'diagonal'``, ``'full'``, ``'shared'`` or ``'identity'``, see
            :class:`~mmseg_isda.core.ClassCovariance`; ``'low_rank'``, see
            :class:`~mmseg_isda.core.LowRankCovariance`.
        rank: directions that ``covariance='low_rank'`` keeps of each class.
        augment_at: ``'feature'``: the shift is added at the size of the features and up-sampled with the logits, as the
            authors' program does; ``'label'``: every labeled pixel is shifted by its own label.
        schedule: of lambda: ``'iter'``, ``'epoch'`` or ``'constant'``.
        sync: pool the statistics across ranks; False keeps each process's own, as the authors' program does.
        loss_weight: factor of the loss.
        loss_name: its name in the log; it must begin with ``loss_`` to be trained on.
        classifier: name of the classifier within the head.
        options: ``reduction``, ``class_weight``, ``avg_non_ignore``, ``label_smoothing``, ``align_corners``, ``fused``
            and ``use_sigmoid`` of :class:`~mmseg_isda.segmentation.losses.HeadCrossEntropy`.

    Raises:
        TypeError: for an unknown option.
        ValueError: if an option is out of range.
    """

    options_from = HeadCrossEntropy

    def __init__(
        self,
        lambda_0: float = 7.5,
        covariance: str = 'diagonal',
        rank: int = 16,
        augment_at: str = 'feature',
        schedule: str = 'iter',
        sync: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_isda',
        classifier: str = 'conv_seg',
        **options: Any,
    ) -> None:
        refuse_unknown_options(ISDASegLoss, options)
        check_choice('augment_at', augment_at, PLACEMENTS)
        super().__init__(
            lambda_0=lambda_0, covariance=covariance, rank=rank, schedule=schedule, sync=sync, classifier=classifier
        )
        self.cross_entropy = HeadCrossEntropy(**options)
        self.augment_at, self.loss_weight, self.loss_name = augment_at, loss_weight, loss_name

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """See the base class; also learns how the head up-samples its logits."""
        super().bind(tap, owner)
        self.cross_entropy.follow(owner)

    @torch.compiler.disable
    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, *, ignore_index: int = 255, **call: Any
    ) -> Tensor:
        """Return the loss of one head.

        Args:
            cls_score: (N, C, H, W) plain logits at the size of the labels.
            label: (N, H, W) integers.
            weight: (N, H, W) weight of each pixel, e.g. of a sampler.
            ignore_index: label of the pixels to ignore.
            call: ``avg_factor``: what a mean divides by; ``reduction_override``: replaces ``reduction`` for this call.

        Returns:
            A scalar, or (N, H, W) for the reduction ``'none'``.

        Raises:
            RuntimeError: if the loss is not bound, or the logits do not come from its classifier, in training mode.
            ValueError: if shapes do not fit or a label is out of range.
        """
        call |= dict(weight=weight, augment_at=self.augment_at)
        return self.cross_entropy(self, cls_score, label, ignore_index, **call)

    @torch.compiler.disable
    def at_feature_size(
        self, logits: Tensor, label: Tensor, *, align_corners: bool, ignore_index: int = 255
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a head that leaves the up-sampling of its logits, and the accuracy, to the fused pass.

        Args:
            logits: (N, C, h, w) plain logits as they leave the classifier.
            label: (N, H, W) integers.
            align_corners: of the bilinear up-sampling.
            ignore_index: label of the pixels to ignore.

        Returns:
            The loss, and the top-1 accuracy of the plain up-sampled logits in per cent, (1,), as MMSegmentation's heads
            report it.

        Raises:
            RuntimeError, ValueError: see :meth:`forward`.
        """
        call: dict[str, Any] = dict(augment_at=self.augment_at, align_corners=align_corners, before_upsampling=True)
        return self.cross_entropy(self, logits, label, ignore_index, **call)

    def augmentation(self, logits: Tensor, label: Tensor, ignore_index: int) -> Augmentation:
        """Take the pass that the logits come from into the statistics, and return what it adds to them."""
        if not self.is_augmenting(logits):
            return None, None, None
        source = self.tap.find(logits)
        check_unchanged(logits, source, self.tap.name)
        size = map_size(logits, source)
        small = resize_labels(label, size)
        count = self.update(source, small if len(source.size) == 2 else small.flatten(1), ignore_index)
        # Labels of small things may be lost at the size of the features.
        looked_up = dict(labels=label) if self.augment_at == 'label' else dict(count=count)
        shift = shift_table(self.statistics, source.weight, self.strength, **looked_up)
        self._mean_shift = mean_shift(shift, count)
        return source, shift, size

    def extra_repr(self) -> str:
        return (
            f'lambda_0={self.lambda_0}, covariance={self.kind!r}, augment_at={self.augment_at!r}, '
            f'schedule={self.schedule!r}, avg_non_ignore={self.cross_entropy.avg_non_ignore}'
        )


@MODELS.register_module()
class FusedCrossEntropyLoss(nn.Module):
    """``CrossEntropyLoss`` of the softmax that up-samples, scores and differentiates in one pass: a faster baseline.

    Values and gradients agree with ``CrossEntropyLoss`` to 1e-6. It works on the logits before up-sampling, so it needs
    either ``ISDAHook`` among the hooks, or a head such as ``FusedPSPHead`` that hands them over and saves
    the cost of the accuracy as well. Without either it is the plain loss, at its cost.

    Args:
        loss_weight, loss_name, classifier, options: as in :class:`ISDASegLoss`.

    Raises:
        TypeError: for an unknown option.
        ValueError: if an option is out of range.
    """

    plugin = 'mmseg_isda'
    options_from = HeadCrossEntropy

    def __init__(
        self, loss_weight: float = 1.0, loss_name: str = 'loss_ce', classifier: str = 'conv_seg', **options: Any
    ) -> None:
        refuse_unknown_options(FusedCrossEntropyLoss, options)
        super().__init__()
        self.cross_entropy, self.guard = HeadCrossEntropy(**options), LabelGuard()
        self.classifier, self.loss_weight, self.loss_name = classifier, loss_weight, loss_name
        self.tap: ClassifierTap | None = None

    @property
    def needs_tap(self) -> bool:
        """Whether ``ISDAHook`` is to bind the loss."""
        return self.cross_entropy.fused is not False

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """Bind the loss to the classifier of its head."""
        if self.tap is not tap:
            self.tap = tap
            tap.num_consumers += 1
            self.cross_entropy.follow(owner)

    @torch.compiler.disable
    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, *, ignore_index: int = 255, **call: Any
    ) -> Tensor:
        """Return the loss of one head; see :meth:`ISDASegLoss.forward`."""
        return self.cross_entropy(self, cls_score, label, ignore_index, weight=weight, **call)

    @torch.compiler.disable
    def at_feature_size(
        self, logits: Tensor, label: Tensor, *, align_corners: bool, ignore_index: int = 255
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ISDASegLoss.at_feature_size`."""
        call: dict[str, Any] = dict(align_corners=align_corners, before_upsampling=True)
        return self.cross_entropy(self, logits, label, ignore_index, **call)

    def augmentation(self, logits: Tensor, *_: Any) -> Augmentation:
        """Return the pass that the logits come from; those of another classifier may take the plain path."""
        if self.training and self.tap is not None and logits.grad_fn is not None:
            with suppress(RuntimeError):
                return self.tap.find(logits), None, None
        return None, None, None

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        drop_statistics(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_iteration(self) -> dict[str, float]:
        """Raise for a label that was out of range; see ``ISDALossBase``."""
        self.guard.check()
        if self.tap is not None:
            self.tap.drop()
        return {}

    def extra_repr(self) -> str:
        return f'avg_non_ignore={self.cross_entropy.avg_non_ignore}, fused={self.cross_entropy.fused!r}'
