"""The loss of explicit semantic augmentation, which ISDA is compared with (Fig. 10 of the paper)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from ..core import shift_of_vectors
from ..core.checks import REDUCTIONS, check_choice
from ..core.explicit import LearnedCovariance, explicit_cross_entropy, sample_directions, uncertainty_loss
from ..core.graph import check_unchanged
from ..engine import ISDALossBase
from ..engine.loss import refuse_unknown_options
from .baselines.base import check_hard_labels, reduced


@MODELS.register_module()
class ExplicitSDALoss(ISDALossBase):
    r"""Cross entropy of features that are augmented by samples (Eq. 5 of the paper), in place of :class:`ISDALoss`.

    With :math:`M` samples of each feature, :math:`\tilde a \sim N(a, \lambda \Sigma_y)`. The covariances are those of
    ``ISDALoss``, or learned as :math:`\Sigma = D D^T` together with the network; the entropy of learned ones is kept up
    by a hinge, see :func:`~mmseg_isda.core.explicit.uncertainty_loss`. In evaluation it is plain cross entropy.

    Args:
        num_samples: M; None is the limit of infinitely many, bounded as ISDA does (Eq. 7).
        learned: options of :class:`~mmseg_isda.core.explicit.LearnedCovariance`: ``num_classes``, ``num_features`` and,
            if you like, ``scale``; None takes estimated covariances.
        entropy_weight: factor of the hinge, for learned covariances.
        entropy_margin: where the hinge ends: mean entropy per feature, in nats.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: factor of the loss.
        options: ``lambda_0``, ``covariance``, ``rank``, ``schedule``, ``sync``, ``classifier`` of :class:`.ISDALoss`.

    Raises:
        TypeError: if there is no such option.
        ValueError: if an option is out of range.
    """

    plugin = 'mmseg_isda.classification'
    options_from = ISDALossBase

    def __init__(
        self,
        num_samples: int | None = 1,
        *,
        learned: dict[str, Any] | None = None,
        entropy_weight: float = 0.1,
        entropy_margin: float = 0.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        **options: Any,
    ) -> None:
        refuse_unknown_options(ExplicitSDALoss, options)
        options = dict(lambda_0=0.5, covariance='full', classifier='fc') | options
        if learned is not None:  # Its statistics are not used, and those of kind 'identity' take no memory.
            options['covariance'] = 'identity'
        super().__init__(**options)
        check_choice('reduction', reduction, REDUCTIONS)
        if num_samples is not None and num_samples < 1:
            raise ValueError(f'num_samples must be at least 1, or None for infinitely many, got {num_samples}')
        if not entropy_weight >= 0:
            raise ValueError(f'entropy_weight must be 0 or more, got {entropy_weight}')
        self.num_samples, self.reduction, self.loss_weight = num_samples, reduction, loss_weight
        self.entropy_weight, self.entropy_margin = entropy_weight, entropy_margin
        # Made here, not when the loss is bound: the optimizer takes the parameters that exist when it is built.
        self.learned = None if learned is None else LearnedCovariance(**learned)

    @torch.compiler.disable
    def forward(self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, **call: Any) -> Tensor:
        """Return the loss of one head; the arguments are those of ``ISDALoss.forward``, without ``ignore_index``.

        Raises:
            ValueError: also if learned covariances have another shape than the classifier.
        """
        check_hard_labels(label, cls_score.shape[1], type(self).__name__)
        label, hinge = label.long(), 0.0
        if self.is_augmenting(cls_score):
            loss = self._augmented_losses(cls_score, label)
            if self.learned is not None:
                hinge = self.entropy_weight * uncertainty_loss(self.learned.entropy(label), self.entropy_margin)
        else:
            loss = F.cross_entropy(cls_score, label, reduction='none')
        return self.loss_weight * (reduced(loss, weight, self.reduction, **call) + hinge)

    def _augmented_losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return (N,) losses, after the pass has entered the statistics."""
        source = self.tap.find(cls_score)
        weight = source.weight
        check_unchanged(cls_score, source, self.tap.name)
        if self.learned is None:
            if source.features is not None:  # taken by a first loss on the same logits
                source.features = source.features.flatten(1)
            self.update(source, label, ignore_index=-100)
        elif self.learned.root.shape[:2] != weight.shape:
            raise ValueError(
                f'learned covariances of {self.tap.name} need num_classes, num_features = {tuple(weight.shape)}, got '
                f'{tuple(self.learned.root.shape[:2])}'
            )
        self.tap.take(source)
        if self.num_samples is not None:
            draw = partial(sample_directions, self.statistics) if self.learned is None else self.learned.sample
            return explicit_cross_entropy(cls_score, label, weight, draw(label, self.num_samples), self.strength)
        if self.learned is None:
            shift = shift_of_vectors(self.statistics, weight, self.strength, label, ignore_index=-100)
        else:
            shift = self.learned.shift(weight, label, self.strength)
        return F.cross_entropy(cls_score + shift, label, reduction='none')
