"""An image classifier that trains on labeled and unlabeled images."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils._pytree import tree_map

from ...engine.semi import StudentMixin, batch_statistics_only, consistency_term
from ...engine.semi.branches import STUDENT, SUP, with_branches


@MODELS.register_module()
class SemiSupervisedClassifier(StudentMixin, ImageClassifier):
    r"""``ImageClassifier`` with the loss of Eq. 19 on batches of labeled and unlabeled images.

    .. math:: L = L_{labeled} + \eta_1 L_{unlabeled} + \eta_2 L_{regularization}

    The labeled loss is the head's own, ISDALoss or another; Eq. 15 takes statistics, classifier and lambda of that
    ISDALoss; the regularization is one of the methods of Table 6. In validation it is the plain classifier, and its
    checkpoints load in one. Change the type of any config of an ``ImageClassifier``, and give it a method::

        model = dict(
            type='SemiSupervisedClassifier',
            method=dict(type='MeanTeacher'),
            semi_train_cfg=dict(eta_1=1.0, eta_2=100.0, rampup=dict(end=40_000, by_epoch=False)))

    Logged: ``sup_loss``, ``unsup_loss_isda`` and ``unsup_loss_consistency`` as they enter the sum, and
    ``unsup_weight``, eta_2 with its ramp.

    Args:
        *args: of ``ImageClassifier``.
        method: config of one of :mod:`.methods`.
        semi_train_cfg: options of :class:`~mmseg_isda.engine.semi.SemiTrainCfg`.
        data_preprocessor: the usual one; it is applied to each branch.
        train_cfg: must be empty: batch augmentations mix labels, which unlabeled images lack.
        **kwargs: of ``ImageClassifier``.

    Raises:
        ValueError: if an option is out of range, or ``train_cfg`` has augmentations.
    """

    def __init__(
        self,
        *args: Any,
        method: dict,
        semi_train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        train_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if train_cfg:
            raise ValueError(f'SemiSupervisedClassifier takes no batch augmentations, got train_cfg={train_cfg}')
        branches = with_branches(data_preprocessor, MODELS, 'ClsDataPreprocessor', stack=True)
        super().__init__(*args, data_preprocessor=branches, **kwargs)
        self.method = MODELS.build(method)
        self.init_student(semi_train_cfg)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return (N, C) logits of preprocessed images."""
        return self.head(self.extract_feat(inputs))

    def loss(self, inputs: dict[str, Tensor], data_samples: dict[str, list[DataSample]]) -> dict[str, Tensor]:
        """Return the terms of Eq. 19.

        Args:
            inputs: images by branch: ``'sup'``, ``'unsup_student'`` and, if the method needs it, ``'unsup_teacher'``.
            data_samples: their annotations.

        Raises:
            ValueError: if a branch is missing, or the share of labeled images changes between batches.
        """
        self.check_branches(inputs, self.method.branches)
        losses, logits = self._both_passes(inputs[SUP], inputs[STUDENT], data_samples[SUP])
        losses = {f'sup_{name}': value for name, value in losses.items()}
        config, weight = self.semi_train_cfg, self.unsup_weight()
        if config.eta_1:
            confident = logits.detach().softmax(1).amax(1) >= config.confidence
            term = consistency_term(self.head.loss_module, logits, sample_weight=confident)
            losses['unsup_loss_isda'] = config.eta_1 * term
        losses['unsup_loss_consistency'] = weight * self.method(self, logits, inputs, data_samples[STUDENT])
        losses['unsup_weight'] = logits.new_tensor(weight)
        return losses

    def _both_passes(
        self, labeled: Tensor, unlabeled: Tensor, data_samples: list[DataSample]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of the labeled images and logits of the unlabeled ones.

        Batch norm sees both together, or, where the method says so, the unlabeled ones apart and without trace.
        """
        if not self.method.joint_batch:
            losses = super().loss(labeled, data_samples)
            with batch_statistics_only(self):
                return losses, self.logits(unlabeled)
        features, size = self.extract_feat(torch.cat([labeled, unlabeled])), len(labeled)
        losses = self.head.loss(tree_map(lambda x: x[:size], features), data_samples)
        return losses, self.head(tree_map(lambda x: x[size:], features))
