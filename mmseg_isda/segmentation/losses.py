"""The losses that a segmentation config names in ``loss_decode``."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core import ClassifierPass, ClassifierTap, mean_shift, resize_labels, shift_table
from ..core.checks import PLACEMENTS, check_choice
from ..core.graph import check_unchanged, map_size
from ..engine.loss import ISDALossBase, drop_statistics, refuse_unknown_options
from .cross_entropy import HeadCrossEntropy


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
            and ``use_sigmoid`` of :class:`~mmseg_isda.segmentation.cross_entropy.HeadCrossEntropy`.

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
        self.cross_entropy = HeadCrossEntropy(ISDASegLoss, **options)
        self.cross_entropy.augment_at = augment_at
        self.guard = self.cross_entropy.guard
        self.loss_weight, self.loss_name = loss_weight, loss_name

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
        label = self._checked(cls_score, label, ignore_index)
        source, size, shift = self._augmentation(cls_score, label, ignore_index)
        call |= dict(weight=weight, feature_size=size, name=self._name)
        loss = self.cross_entropy(cls_score, label, shift, source, ignore_index, **call)
        if source is not None:
            self.tap.take(source)
        return self.loss_weight * loss

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
        label = self._checked(logits, label, ignore_index)
        source, _, shift = self._augmentation(logits, label, ignore_index)
        loss, accuracy = self.cross_entropy.at_feature_size(logits, label, shift, ignore_index, align_corners)
        if source is not None:
            self.tap.take(source)
        return self.loss_weight * loss, accuracy

    @property
    def _name(self) -> str:
        return self.tap.name if self.tap is not None else ''

    def _checked(self, logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        return self.cross_entropy.checked(logits, label, ignore_index, self._name)

    def _augmentation(
        self, logits: Tensor, label: Tensor, ignore_index: int
    ) -> tuple[ClassifierPass | None, tuple[int, int] | None, Tensor | None]:
        """Return the pass of the classifier, the size of its features and the (C, C) shift table; or nothing."""
        if not self.is_augmenting(logits):
            return None, None, None
        source = self.tap.find(logits)
        check_unchanged(logits, source, self.tap.name)
        size = map_size(logits, source)
        small = resize_labels(label, size)
        count = self.update(source, small if len(source.size) == 2 else small.flatten(1), ignore_index)
        # Labels of small things may be lost at the size of the features.
        looked_up = dict(labels=label) if self.cross_entropy.augment_at == 'label' else dict(count=count)
        shift = shift_table(self.statistics, source.weight, self.strength, **looked_up)
        self._mean_shift = mean_shift(shift, count)
        return source, size, shift

    def extra_repr(self) -> str:
        return (
            f'lambda_0={self.lambda_0}, covariance={self.kind!r}, augment_at={self.cross_entropy.augment_at!r}, '
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
        self.cross_entropy = HeadCrossEntropy(FusedCrossEntropyLoss, **options)
        self.classifier, self.loss_weight, self.loss_name = classifier, loss_weight, loss_name
        self.tap: ClassifierTap | None = None

    @property
    def needs_tap(self) -> bool:
        """Whether ``ISDAHook`` is to bind the loss."""
        return self.cross_entropy.fused is not False

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """Bind the loss to the classifier of its head."""
        if self.tap is tap:
            return
        self.tap = tap
        tap.num_consumers += 1
        self.cross_entropy.follow(owner)

    @torch.compiler.disable
    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, *, ignore_index: int = 255, **call: Any
    ) -> Tensor:
        """Return the loss of one head; see :meth:`ISDASegLoss.forward`."""
        name = self.tap.name if self.tap is not None else ''
        label = self.cross_entropy.checked(cls_score, label, ignore_index, name)
        source = self._source(cls_score)
        loss = self.cross_entropy(cls_score, label, None, source, ignore_index, weight=weight, name=name, **call)
        if source is not None:
            self.tap.take(source)
        return self.loss_weight * loss

    @torch.compiler.disable
    def at_feature_size(
        self, logits: Tensor, label: Tensor, *, align_corners: bool, ignore_index: int = 255
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`ISDASegLoss.at_feature_size`."""
        label = self.cross_entropy.checked(logits, label, ignore_index, '')
        if self.tap is not None:
            self.tap.drop()
        loss, accuracy = self.cross_entropy.at_feature_size(logits, label, None, ignore_index, align_corners)
        return self.loss_weight * loss, accuracy

    def _source(self, logits: Tensor) -> ClassifierPass | None:
        """Return the pass that the logits come from; those of another classifier may take the plain path."""
        if not self.training or self.tap is None or logits.grad_fn is None:
            return None
        try:
            return self.tap.find(logits)
        except RuntimeError:
            return None

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        drop_statistics(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_iteration(self) -> dict[str, float]:
        """Raise for a label that was out of range; see ``ISDALossBase``."""
        self.cross_entropy.guard.check()
        if self.tap is not None:
            self.tap.drop()
        return {}

    def extra_repr(self) -> str:
        return f'avg_non_ignore={self.cross_entropy.avg_non_ignore}, fused={self.cross_entropy.fused!r}'
