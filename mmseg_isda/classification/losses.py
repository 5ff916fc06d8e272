"""The loss that a classification config names in ``loss`` of its head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.losses.utils import weight_reduce_loss
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..core import check_labels, logit_shift
from ..core.cross_entropy import REDUCTIONS
from ..core.low_rank import LowRankCovariance, low_rank_shift
from ..core.statistics import KINDS
from ..engine import ClassifierTap, ISDALossBase
from ..engine.loss import refuse_unknown_options
from ..engine.tap import without_views

LOW_RANK = 'low_rank'


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
        classifier: name of the classifier within the head, e.g. ``'layers.head'`` of ``VisionTransformerClsHead``,
            ``'layers.1.fc'`` of ``StackedLinearClsHead``.
        rank: directions that ``covariance='low_rank'`` keeps of each class.
        use_sigmoid, use_soft: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring them
            along.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option is out of range.
    """

    kinds = (*KINDS, LOW_RANK)
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
        classifier: str = 'fc',
        rank: int = 16,
        use_sigmoid: bool = False,
        use_soft: bool = False,
        **unknown,
    ) -> None:
        _refuse_other_losses(unknown, use_sigmoid, use_soft)
        refuse_unknown_options(ISDALoss, unknown)
        super().__init__(lambda_0=lambda_0, covariance=covariance, schedule=schedule, sync=sync, classifier=classifier)
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction must be one of {", ".join(map(repr, REDUCTIONS))}, got {reduction!r}')
        if rank < 1:
            raise ValueError(f'rank must be at least 1, got {rank}')
        self.rank = rank
        self.reduction, self.loss_weight, self.class_weight = reduction, loss_weight, class_weight

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """See the base class.

        Raises:
            TypeError: if the classifier changes its weight or its input on the way.
        """
        if isinstance(tap.classifier, nn.Linear) and type(tap.classifier).forward is not nn.Linear.forward:
            raise TypeError(
                f'{tap.name} is a {type(tap.classifier).__name__}, which does more than multiply by its weight (e.g. '
                f'normalises it): the shift that ISDA takes from that weight would be wrong. Use a head with a plain '
                f'linear layer, such as LinearClsHead.'
            )
        super().bind(tap, owner)

    def _new_statistics(self, num_classes: int, num_features: int) -> nn.Module:
        if self.kind == LOW_RANK:
            return LowRankCovariance(num_classes, num_features, self.rank, sync=self.sync)
        return super()._new_statistics(num_classes, num_features)

    @torch.compiler.disable
    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
    ) -> Tensor:
        """The loss of one head.

        Args:
            cls_score: (N, C) plain logits.
            label: (N,) integers.
            weight: (N,) weight of each image.
            avg_factor: what a mean divides by, by default N.
            reduction_override: replaces ``reduction`` for this call.
            ignore_index: label of the images without loss.

        Returns:
            A scalar, or (N,) for the reduction ``'none'``.

        Raises:
            RuntimeError: if no ``ISDAHook`` has tied the loss to a classifier, that has not run, or the logits are
                those of another one.
            TypeError: if the labels are soft.
            ValueError: if shapes do not fit, a label is out of range, or ``avg_factor`` comes with the reduction
                ``'sum'``.
        """
        reduction = reduction_override or self.reduction
        self._check_call(cls_score, label, reduction)
        label = self._guard(label.long(), cls_score.shape[1], ignore_index)
        if self.training and self.augments:
            tapped = self._take_features(cls_score)
            self._check_classifier(cls_score)
            if tapped is not None:
                features = _as_vectors(tapped.features)
                self._check_source(cls_score)
                self._update(features, label, ignore_index)
            cls_score = cls_score + self._added(label, ignore_index)
        class_weight = None if self.class_weight is None else cls_score.new_tensor(self.class_weight)
        try:
            loss = F.cross_entropy(cls_score, label, weight=class_weight, reduction='none', ignore_index=ignore_index)
        except IndexError:  # On the CPU the look-up finds a bad label at no cost, but does not say where it comes from.
            check_labels(label, cls_score.shape[1], ignore_index)
            raise
        # The rules of the host, to the last bit.
        weight = None if weight is None else weight.float()
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction=reduction, avg_factor=avg_factor)

    def _check_call(self, cls_score: Tensor, label: Tensor, reduction: str) -> None:
        if label.is_floating_point() or label.shape == cls_score.shape:
            raise TypeError(
                f'ISDALoss needs one class for each image, (N,) integers, got soft targets of shape '
                f'{tuple(label.shape)}, {label.dtype}: they have no class to take a covariance from. Remove the batch '
                f'augmentations that mix labels (Mixup, CutMix, ResizeMix in model.train_cfg.augments), or train with '
                f'CrossEntropyLoss or LabelSmoothLoss.'
            )
        if cls_score.dim() != 2 or label.shape != cls_score.shape[:1]:
            raise ValueError(
                f'ISDALoss needs logits (N, C) and labels (N,), got {tuple(cls_score.shape)} and {tuple(label.shape)}'
            )
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction must be one of {", ".join(map(repr, REDUCTIONS))}, got {reduction!r}')
        if self.class_weight is not None and len(self.class_weight) != cls_score.shape[1]:
            raise ValueError(
                f'class_weight must have {cls_score.shape[1]} values, one a class, got {len(self.class_weight)}'
            )

    def _check_classifier(self, cls_score: Tensor) -> None:
        if cls_score.shape[1] != len(self.tap.weight):
            raise ValueError(
                f'the logits have {cls_score.shape[1]} classes, but {self.tap.name} has {len(self.tap.weight)} '
                f'outputs: name the layer that makes the logits by classifier=... of the loss'
            )

    def _check_source(self, cls_score: Tensor) -> None:
        """Raises if something was done to the classifier's output: the table would be that of other logits."""
        made_by = without_views(cls_score.grad_fn)
        if None not in (made_by, self._source) and made_by is not self._source and 'Compiled' not in made_by.name():
            raise RuntimeError(
                f'the logits given to ISDALoss are not what {self.tap.name} makes, but {made_by.name()} of it: ISDA '
                f'needs logits that are one linear layer of the features, as those of LinearClsHead'
            )

    def _added(self, label: Tensor, ignore_index: int) -> Tensor:
        """(N, C) what is added to the logits of each image; only the rows of the table that the batch needs exist."""
        num_images, num_classes = len(label), len(self.tap.weight)
        valid = (label != ignore_index).unsqueeze(1)
        label = label.masked_fill(label == ignore_index, 0)
        if label.device.type == 'cpu':
            classes, row = label.unique(return_inverse=True)
            added = F.embedding(row, self._rows(classes))
        elif num_images < num_classes and self.kind in ('diagonal', 'identity', 'shared', LOW_RANK):
            # To find the classes present would wait for the device: a row for each image, though some are equal.
            added = self._rows(label)
        else:
            added = F.embedding(label, self._rows(None))
        added = added.masked_fill(~valid, 0)
        self._mean_shift = added.detach().sum() / ((num_classes - 1) * valid.sum()).clamp_min(1)
        return added

    def _rows(self, classes: Tensor | None) -> Tensor:
        """(K, C) rows of the table of this iteration, by default all."""
        if self.kind == LOW_RANK:
            factor, variance = self.covariance.factor, self.covariance.covariance
            return low_rank_shift(self.tap.weight, factor, variance, self.strength, classes=classes)
        return logit_shift(self.tap.weight, self.covariance.covariance, self.strength, classes=classes)

    def extra_repr(self) -> str:
        rank = f', rank={self.rank}' if self.kind == LOW_RANK else ''
        return f'lambda_0={self.lambda_0}, covariance={self.kind!r}{rank}, schedule={self.schedule!r}'


def _refuse_other_losses(unknown: Mapping[str, Any], use_sigmoid: bool, use_soft: bool) -> None:
    """Options that an inherited config brings along from a loss of another kind."""
    if use_sigmoid:
        raise ValueError(
            'use_sigmoid=True asks for a binary cross entropy, but ISDA bounds the softmax cross entropy: set '
            'use_sigmoid=False'
        )
    if use_soft:
        raise ValueError(
            'use_soft=True asks for soft targets, which have no class to take a covariance from: set use_soft=False '
            'and remove what makes the targets soft'
        )
    if 'label_smooth_val' in unknown:
        raise ValueError(
            'label_smooth_val is of LabelSmoothLoss, whose soft targets have no class to take a covariance from. If it '
            "comes from an inherited config, write loss=dict(_delete_=True, type='ISDALoss', ...)."
        )


def _as_vectors(features: Tensor) -> Tensor:
    """(N, A) from what entered a linear layer, or a 1x1 convolution after the pooling."""
    if features.dim() > 2 and features.shape[2:].numel() == 1:
        return features.flatten(1)
    if features.dim() != 2:
        raise ValueError(
            f'the classifier of ISDALoss must get one feature vector for each image, (N, A), got '
            f'{tuple(features.shape)}: put the pooling before it (neck=dict(type="GlobalAveragePooling"))'
        )
    return features
