"""The losses that a segmentation config names in ``loss_decode``."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core import fused_cross_entropy, isda_cross_entropy, resize_labels, should_fuse
from ..core.cross_entropy import PLACEMENTS, REDUCTIONS
from ..engine import ClassifierTap, ISDALossBase
from ..engine.loss import refuse_unknown_options
from ..engine.tap import Tapped, without_views


class SegLossBase(ISDALossBase):
    """What the losses of this module share: the options of ``CrossEntropyLoss``, and the choice of the fused pass."""

    def __init__(
        self,
        *,
        augment_at: str,
        reduction: str,
        class_weight: list[float] | str | None,
        loss_weight: float,
        loss_name: str,
        avg_non_ignore: bool,
        align_corners: bool | None,
        fused: bool | str,
        use_sigmoid: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if use_sigmoid:
            raise ValueError(
                f'use_sigmoid=True asks for a binary cross entropy, but {type(self).__name__} is one of the softmax: '
                f'set use_sigmoid=False, and two output channels for two classes'
            )
        if augment_at not in PLACEMENTS:
            raise ValueError(f'augment_at must be one of {", ".join(map(repr, PLACEMENTS))}, got {augment_at!r}')
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction must be one of {", ".join(map(repr, REDUCTIONS))}, got {reduction!r}')
        if fused != 'auto' and not isinstance(fused, bool):
            raise ValueError(f"fused must be 'auto', True or False, got {fused!r}")
        self.augment_at, self.reduction, self.avg_non_ignore = augment_at, reduction, avg_non_ignore
        self.class_weight = get_class_weight(class_weight)
        self.loss_weight, self._loss_name = loss_weight, loss_name
        self.align_corners = align_corners
        self.fused = fused
        self._feature_size: tuple[int, int] | None = None

    @property
    def loss_name(self) -> str:
        """Under which name the head reports the loss."""
        return self._loss_name

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """See the base class; also learns how the head up-samples its logits."""
        super().bind(tap, owner)
        if self.align_corners is None:
            self.align_corners = bool(getattr(owner, 'align_corners', False))

    @torch.compiler.disable
    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """The loss of one head.

        Args:
            cls_score: (N, C, H, W) plain logits at the size of the labels.
            label: (N, H, W) integers.
            weight: (N, H, W) weight of each pixel, e.g. of a sampler.
            avg_factor: what a mean divides by.
            reduction_override: replaces ``reduction`` for this call.
            ignore_index: label of the pixels to ignore.

        Returns:
            A scalar, or (N, H, W) for the reduction ``'none'``.

        Raises:
            RuntimeError: if no ``ISDAHook`` has tied the loss to a classifier, that has not run, or the logits are
                those of another one.
            ValueError: if shapes do not fit or a label is out of range.
        """
        label = self._checked_label(cls_score, label, ignore_index)
        tapped = self._take(cls_score)
        shift = self._augmentation(tapped, label, ignore_index)
        options = self._options(cls_score, shift, ignore_index)
        options.update(weight=weight, avg_factor=avg_factor, align_corners=bool(self.align_corners))
        options['reduction'] = reduction_override or self.reduction
        if self._can_fuse(tapped, cls_score, label):
            loss = fused_cross_entropy(tapped.logits, label, shift, **options)
        else:
            loss = isda_cross_entropy(cls_score, label, shift, feature_size=self._feature_size, **options)
        return self.loss_weight * loss

    @torch.compiler.disable
    def at_feature_size(
        self, logits: Tensor, label: Tensor, *, align_corners: bool, ignore_index: int = 255
    ) -> tuple[Tensor, Tensor]:
        """The loss of a head that leaves the up-sampling of its logits, and the accuracy, to the fused pass.

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
        label = self._checked_label(logits, label, ignore_index)
        tapped = self._take(logits)
        shift = self._augmentation(tapped, label, ignore_index)
        options = self._options(logits, shift, ignore_index)
        loss, accuracy = fused_cross_entropy(
            logits, label, shift, align_corners=align_corners, return_accuracy=True, **options
        )
        return self.loss_weight * loss, accuracy.view(1)

    def wants_fusing(self, logits: Tensor, label: Tensor) -> bool:
        """Whether the option ``fused`` asks for the fused pass at the given sizes.

        Args:
            logits: (N, C, h, w), before up-sampling.
            label: (N, H, W).
        """
        return self.fused is True or (
            self.fused == 'auto' and label.device.type == 'cpu' and should_fuse(logits, label)
        )

    def _take(self, logits: Tensor) -> Tapped | None:
        """The classifier's pass of this iteration; None if there is none, or it was taken before."""
        raise NotImplementedError

    def _augmentation(self, tapped: Tapped | None, label: Tensor, ignore_index: int) -> Tensor | None:
        """(C, C) table of shifts, or None."""
        raise NotImplementedError

    def _checked_label(self, logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        if logits.dim() != 4 or label.dim() != 3:
            raise ValueError(
                f'{type(self).__name__} needs logits (N, C, H, W) and labels (N, H, W), got {tuple(logits.shape)} and '
                f'{tuple(label.shape)}: heads that classify points or tokens are not served'
            )
        return self._guard(label.long(), logits.shape[1], ignore_index)

    def _options(self, logits: Tensor, shift: Tensor | None, ignore_index: int) -> dict[str, Any]:
        return dict(
            class_weight=self._class_weight(logits, shift),
            ignore_index=ignore_index,
            reduction=self.reduction,
            avg_non_ignore=self.avg_non_ignore,
            augment_at=self.augment_at,
        )

    def _can_fuse(self, tapped: Tapped | None, cls_score: Tensor, label: Tensor) -> bool:
        """Whether to work on the logits that left the classifier, in place of the up-sampled ones."""
        if tapped is None or not self.wants_fusing(tapped.logits, label):
            return False
        direct = self._is_upsampled(cls_score)
        if self.fused is True and not direct:
            raise RuntimeError(
                f'fused=True, but the logits of the loss are not the up-sampled output of {self.tap.name}: the head '
                f"changes them on the way. Set fused='auto' or False."
            )
        return direct

    def _is_upsampled(self, logits: Tensor) -> bool:
        """Whether a bilinear up-sampling is all that the host did to the logits: asked of the graph, at no cost."""
        node = without_views(logits.grad_fn)
        if node is None or node.name() != 'UpsampleBilinear2DBackward0':
            return False
        before = node.next_functions[0][0]
        made_by_it = self._source in (before, without_views(before))
        return made_by_it and node._saved_align_corners == bool(self.align_corners)

    def _class_weight(self, logits: Tensor, shift: Tensor | None) -> Tensor | None:
        if self.class_weight is None:
            return None
        # Shifted logits are float32 whatever the network computes in.
        dtype = logits.dtype if shift is None else torch.promote_types(logits.dtype, torch.float32)
        return logits.new_tensor(self.class_weight, dtype=dtype)


@MODELS.register_module()
class ISDASegLoss(SegLossBase):
    r"""Cross entropy that augments the feature of every pixel implicitly (Eq. 7 of the paper).

    Takes the place of ``CrossEntropyLoss`` in ``loss_decode`` of a decode or auxiliary head; ``ISDAHook`` must be among
    the hooks. Each head keeps its own statistics, saved with the model. In evaluation it is plain cross entropy.

    Args:
        lambda_0: final strength of the augmentation; with 0 the loss equals ``CrossEntropyLoss``.
        covariance: ``'diagonal'``, ``'full'``, ``'shared'`` or ``'identity'``, see
            :class:`~mmseg_isda.core.ClassCovariance`.
        augment_at: ``'feature'``: the shift is added at the size of the features and up-sampled with the logits, as the
            authors' program does; ``'label'``: every labelled pixel is shifted by its own label.
        schedule: of lambda: ``'iter'``, ``'epoch'`` or ``'constant'``.
        sync: pool the statistics over all processes; False keeps each process's own, as the authors' program does.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        class_weight: weights of the classes, or a file that holds them (npy, json, yaml, pkl), read by the host.
        loss_weight: factor of the loss.
        loss_name: its name in the log; it must begin with ``loss_`` to be trained on.
        avg_non_ignore: whether a mean leaves ignored pixels out.
        classifier: name of the classifier within the head.
        align_corners: of the up-sampling of the logits; by default that of the head.
        fused: whether up-sampling, shift and cross entropy are one pass over the logits before up-sampling, in a
            fraction of the time and memory: ``'auto'``, where it pays, at present on the CPU; True; False. The results
            agree to 1e-6. It needs a head that does nothing but up-sample what its classifier makes, as almost all do.
        use_sigmoid: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring it along.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        lambda_0: float = 7.5,
        covariance: str = 'diagonal',
        augment_at: str = 'feature',
        schedule: str = 'iter',
        sync: bool = True,
        reduction: str = 'mean',
        class_weight: list[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_isda',
        avg_non_ignore: bool = False,
        classifier: str = 'conv_seg',
        align_corners: bool | None = None,
        fused: bool | str = 'auto',
        use_sigmoid: bool = False,
        **unknown,
    ) -> None:
        refuse_unknown_options(ISDASegLoss, unknown)
        super().__init__(
            lambda_0=lambda_0,
            covariance=covariance,
            schedule=schedule,
            sync=sync,
            classifier=classifier,
            augment_at=augment_at,
            reduction=reduction,
            class_weight=class_weight,
            loss_weight=loss_weight,
            loss_name=loss_name,
            avg_non_ignore=avg_non_ignore,
            align_corners=align_corners,
            fused=fused,
            use_sigmoid=use_sigmoid,
        )

    def _take(self, logits: Tensor) -> Tapped | None:
        return self._take_features(logits) if self.training and self.augments else None

    def _augmentation(self, tapped: Tapped | None, label: Tensor, ignore_index: int) -> Tensor | None:
        if not (self.training and self.augments):
            return None
        if tapped is not None:  # else a second call in the same iteration
            self._feature_size = tuple(tapped.features.shape[2:])
            self._update(tapped.features, resize_labels(label, self._feature_size), ignore_index)
        # Labels of small things may be lost at the size of the features.
        return self._shift(label if self.augment_at == 'label' else None)

    def extra_repr(self) -> str:
        return (
            f'lambda_0={self.lambda_0}, covariance={self.kind!r}, augment_at={self.augment_at!r}, '
            f'schedule={self.schedule!r}, avg_non_ignore={self.avg_non_ignore}'
        )


@MODELS.register_module()
class FusedCrossEntropyLoss(SegLossBase):
    """``CrossEntropyLoss`` of the softmax that up-samples, scores and differentiates in one pass: a faster baseline.

    Values and gradients agree with ``CrossEntropyLoss`` to 1e-6. It works on the logits before up-sampling, so it needs
    either ``ISDAHook`` among the hooks, or a head such as ``FusedPSPHead`` that hands them over and saves
    the cost of the accuracy as well. Without either it is the plain loss, at its cost.

    Args:
        reduction, class_weight, loss_weight, loss_name, avg_non_ignore: as in ``CrossEntropyLoss``.
        classifier, align_corners, fused, use_sigmoid: as in :class:`ISDASegLoss`.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option is out of range.
    """

    is_augmenting = False

    def __init__(
        self,
        reduction: str = 'mean',
        class_weight: list[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
        avg_non_ignore: bool = False,
        classifier: str = 'conv_seg',
        align_corners: bool | None = None,
        fused: bool | str = 'auto',
        use_sigmoid: bool = False,
        **unknown,
    ) -> None:
        refuse_unknown_options(FusedCrossEntropyLoss, unknown)
        super().__init__(
            lambda_0=0,
            covariance='diagonal',
            schedule='constant',
            sync=True,
            classifier=classifier,
            augment_at='label',
            reduction=reduction,
            class_weight=class_weight,
            loss_weight=loss_weight,
            loss_name=loss_name,
            avg_non_ignore=avg_non_ignore,
            align_corners=align_corners,
            fused=fused,
            use_sigmoid=use_sigmoid,
        )

    @property
    def needs_tap(self) -> bool:
        return self.fused is not False

    def _take(self, logits: Tensor) -> Tapped | None:
        # Logits of another classifier are no mistake here: they take the plain path.
        if not self.training or not self.is_bound or self._taken == self._tap.version:
            return None
        return self._take_pass()

    def _augmentation(self, tapped: Tapped | None, label: Tensor, ignore_index: int) -> None:
        return None

    def extra_repr(self) -> str:
        return f'avg_non_ignore={self.avg_non_ignore}, fused={self.fused!r}'
