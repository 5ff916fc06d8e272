"""What a model that trains on labeled and unlabeled images has beside its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .branches import STUDENT, SUP
from .terms import RampUp, SemiTrainCfg, consistency_term


class StudentMixin:
    """Mixin of a model whose ``loss`` gets images by branch: the weights of Eq. 19, and the teacher.

    Call :meth:`init_student` after the constructor of the model.
    """

    def init_student(self, semi_train_cfg: Mapping[str, Any] | None) -> None:
        """Read the options of :class:`SemiTrainCfg`."""
        self.semi_train_cfg = SemiTrainCfg(**(semi_train_cfg or {}))
        self.rampup = RampUp(**self.semi_train_cfg.rampup)
        self._teacher: list[nn.Module] = []  # in a list, as a teacher is no part of its student
        self._num_labeled: int | None = None

    def attach_teacher(self, teacher: nn.Module) -> None:
        """Take the averaged model of ``MeanTeacherHook``."""
        self._teacher = [teacher]

    @property
    def teacher(self) -> nn.Module:
        """Return the averaged model.

        Raises:
            RuntimeError: if there is none.
        """
        if not self._teacher:
            raise RuntimeError(
                "there is no teacher: add default_hooks=dict(mean_teacher=dict(type='MeanTeacherHook')) to the config"
            )
        return self._teacher[0]

    def unsup_losses(
        self, loss: nn.Module, logits: Tensor, regularization: Tensor, *, sample_weight: Tensor
    ) -> dict[str, Tensor]:
        """Return what unlabeled images add to Eq. 19, weighted, and ``unsup_weight``, eta_2 with its ramp.

        ``loss`` is the labeled loss, ``regularization`` the method's own term; ``sample_weight`` counts in Eq. 15.
        """
        eta_1, weight = self.semi_train_cfg.eta_1, self.semi_train_cfg.eta_2 * self.rampup()
        losses = {'unsup_loss_consistency': weight * regularization, 'unsup_weight': logits.new_tensor(weight)}
        if eta_1:
            losses['unsup_loss_isda'] = eta_1 * consistency_term(loss, logits, sample_weight=sample_weight)
        return losses

    def check_branches(self, inputs: Mapping[str, Tensor], needed: tuple[str, ...] = ()) -> None:
        """Raise for a batch without one of the branches ``'sup'``, ``'unsup_student'`` and those ``needed`` besides.

        Raises:
            ValueError: if a branch is missing, or the share of labeled images changes between batches.
        """
        missing = [name for name in (SUP, STUDENT, *needed) if name not in inputs]
        if missing:
            raise ValueError(
                f'a batch has no images of the branch {missing[0]!r}, only of {", ".join(inputs)}: each batch needs '
                f'labeled and unlabeled images (MultiSourceSampler, with the batch_size of its data loader), and the '
                f'pipeline of the unlabeled ones a view for each branch'
            )
        size = len(inputs[SUP])
        self._num_labeled = self._num_labeled or size
        if size != self._num_labeled:
            raise ValueError(
                f'a batch has {size} labeled images, the first one had {self._num_labeled}: batch_size of the data '
                f'loader must be that of its MultiSourceSampler'
            )
