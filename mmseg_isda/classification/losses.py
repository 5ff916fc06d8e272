"""The loss that a classification config names in ``loss`` of its head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from ..core import ClassifierPass, check_labels, shift_of_vectors
from ..core.checks import REDUCTIONS, check_choice, check_class_weight, check_smoothing
from ..core.graph import check_unchanged
from ..engine import ISDALossBase
from ..engine.loss import refuse_unknown_options
from .baselines.base import reduced

# Options of other losses that a config may inherit, and what to do about them.
_OF_OTHER_LOSSES = {
    'use_sigmoid': 'asks for a binary cross entropy, but ISDA bounds the softmax cross entropy: set use_sigmoid=False',
    'use_soft': 'asks for soft targets, which have no class to take a covariance from: set use_soft=False and remove '
    'what makes the targets soft',
    'label_smooth_val': 'is an option of LabelSmoothLoss: ISDALoss has label_smoothing. If it comes from an inherited '
    "config, write loss=dict(_delete_=True, type='ISDALoss', label_smoothing=...)",
}


@MODELS.register_module()
class ISDALoss(ISDALossBase):
    r"""Cross entropy that augments the feature of every image implicitly (Eq. 7 of the paper).

    Takes the place of ``CrossEntropyLoss`` in the ``loss`` of a head whose logits come from one linear layer;
    ``ISDAHook`` must be among the hooks. The statistics are saved with the model. In evaluation it is plain cross
    entropy.

    Args:
        lambda_0: final strength of the augmentation; with 0 the loss equals ``CrossEntropyLoss`` bit for bit.
        covariance: ``'full'`` (the paper's for CIFAR), ``'diagonal'`` (its ImageNet), ``'shared'`` or ``'identity'``,
            see :class:`~mmseg_isda.core.ClassCovariance`; ``'low_rank'``: a full covariance that fits into memory for
            large heads, see :class:`~mmseg_isda.core.low_rank.LowRankCovariance`.
        schedule: of lambda: ``'iter'``, ``'epoch'`` or ``'constant'``.
        sync: pool the statistics over all processes; False keeps each process's own, as the authors' program does.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: factor of the loss.
        class_weight: (C,) weights of the classes.
        label_smoothing: share of the uniform target, as in ``torch.nn.functional.cross_entropy``; beyond the paper.
        classifier: name of the classifier within the head, e.g. ``'layers.head'`` of ``VisionTransformerClsHead``,
            ``'layers.1.fc'`` of ``StackedLinearClsHead``.
        rank: directions that ``covariance='low_rank'`` keeps of each class.
        use_sigmoid, use_soft: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring them
            along.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option is out of range.
    """

    plugin = 'mmseg_isda.classification'

    def __init__(
        self,
        lambda_0: float = 0.5,
        covariance: str = 'full',
        schedule: str = 'iter',
        sync: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        class_weight: list[float] | None = None,
        label_smoothing: float = 0.0,
        classifier: str = 'fc',
        rank: int = 16,
        use_sigmoid: bool = False,
        use_soft: bool = False,
        **unknown,
    ) -> None:
        given = dict(unknown, use_sigmoid=use_sigmoid, use_soft=use_soft)
        for name, advice in _OF_OTHER_LOSSES.items():
            if given.get(name):
                raise ValueError(f'{name} {advice}')
        refuse_unknown_options(ISDALoss, unknown)
        super().__init__(
            lambda_0=lambda_0, covariance=covariance, rank=rank, schedule=schedule, sync=sync, classifier=classifier
        )
        check_choice('reduction', reduction, REDUCTIONS)
        check_smoothing(label_smoothing)
        check_class_weight('class_weight', class_weight)
        self.reduction, self.loss_weight, self.class_weight = reduction, loss_weight, class_weight
        self.label_smoothing = label_smoothing

    @torch.compiler.disable
    def forward(
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, *, ignore_index: int = -100, **call: Any
    ) -> Tensor:
        """Return the loss of one head.

        Args:
            cls_score: (N, C) plain logits.
            label: (N,) integers.
            weight: (N,) weight of each image.
            ignore_index: label of the images without loss.
            call: options of :func:`~mmseg_isda.classification.baselines.base.reduced` for this call.

        Returns:
            A scalar, or (N,) for the reduction ``'none'``.

        Raises:
            RuntimeError: if the loss is not bound, or the logits are not its classifier's output, in training mode.
            TypeError: if the labels are soft.
            ValueError: if shapes do not fit, a label is out of range, or ``avg_factor`` comes with ``'sum'``.
        """
        self._check_call(cls_score, label, call.get('reduction_override') or self.reduction)
        label = self.guard(label.long(), cls_score.shape[1], ignore_index, self.tap.name if self.tap else '')
        if self.is_augmenting(cls_score):
            source = self.tap.find(cls_score)
            cls_score = cls_score + self._shift(source, cls_score, label, ignore_index)
            self.tap.take(source)
        class_weight = None if self.class_weight is None else cls_score.new_tensor(self.class_weight)
        options = dict(ignore_index=ignore_index, label_smoothing=self.label_smoothing)
        try:
            loss = F.cross_entropy(cls_score, label, weight=class_weight, reduction='none', **options)
        except IndexError:  # On the CPU the look-up finds a bad label at no cost, but does not say where it comes from.
            check_labels(label, cls_score.shape[1], ignore_index, self.tap.name if self.tap else '')
            raise
        return self.loss_weight * reduced(loss, weight, self.reduction, **call)

    def _check_call(self, cls_score: Tensor, label: Tensor, reduction: str) -> None:
        needed = 'ISDALoss needs one class for each image, (N,) integers, got'
        if label.is_floating_point():
            raise TypeError(
                f'{needed} soft targets of shape {tuple(label.shape)}: they have no class to take a covariance from. '
                f'Remove the batch augmentations that mix labels (Mixup, CutMix, ResizeMix in '
                f'model.train_cfg.augments), or train with CrossEntropyLoss or LabelSmoothLoss'
            )
        if label.shape == cls_score.shape:
            raise TypeError(
                f'{needed} one-hot integers of shape {tuple(label.shape)}: set data_preprocessor.to_onehot=False'
            )
        if cls_score.dim() != 2 or label.shape != cls_score.shape[:1]:
            raise ValueError(
                f'ISDALoss needs logits (N, C) and labels (N,), got {tuple(cls_score.shape)} and {tuple(label.shape)}'
            )
        check_choice('reduction', reduction, REDUCTIONS)
        if self.class_weight is not None and len(self.class_weight) != cls_score.shape[1]:
            raise ValueError(
                f'class_weight must have {cls_score.shape[1]} values, one a class, got {len(self.class_weight)}'
            )

    def _shift(self, source: ClassifierPass, cls_score: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """Return (N, C), what is added to the logits of each image, after the pass has entered the statistics."""
        if source.features is not None:
            source.features = _as_vectors(source.features)
        check_unchanged(cls_score, source, self.tap.name)
        self.update(source, label, ignore_index)
        added = shift_of_vectors(self.statistics, source.weight, self.strength, label, ignore_index)
        num_wrong = (cls_score.shape[1] - 1) * (label != ignore_index).sum()
        self._mean_shift = added.detach().sum() / num_wrong.clamp_min(1)
        return added

    def extra_repr(self) -> str:
        rank = f', rank={self.rank}' if self.kind == 'low_rank' else ''
        return f'lambda_0={self.lambda_0}, covariance={self.kind!r}{rank}, schedule={self.schedule!r}'


def _as_vectors(features: Tensor) -> Tensor:
    """Return (N, A) from what entered a linear layer, or a 1x1 convolution after the pooling."""
    if features.dim() > 2 and features.shape[2:].numel() == 1:
        return features.flatten(1)
    if features.dim() != 2:
        raise ValueError(
            f'the classifier of ISDALoss must get one feature vector for each image, (N, A), got '
            f'{tuple(features.shape)}: put the pooling before it (neck=dict(type="GlobalAveragePooling"))'
        )
    return features
