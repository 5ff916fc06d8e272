"""Weights of the terms of Eq. 19, and the one that ISDA adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import MessageHub
from torch import Tensor, nn

from ...core.consistency import isda_consistency
from ..loss import ISDALossBase


@dataclass(frozen=True)
class RampUp:
    """Ramp-up of a weight over epochs or iterations of MMEngine's loop, both counted from 0.

    Args:
        end: when the weight is full; 0 means from the start.
        begin: before it the weight is 0.
        by_epoch: count epochs.

    Raises:
        ValueError: if a number is negative.
    """

    end: int = 0
    begin: int = 0
    by_epoch: bool = True

    def __post_init__(self) -> None:
        if self.end < 0 or self.begin < 0:
            raise ValueError(f'rampup must have begin and end of 0 or more, got {self.begin} and {self.end}')

    def at(self, now: int) -> float:
        """Return exp(-5 (1 - now / end)^2) up to ``end`` and 1 from there on; 0 before ``begin``."""
        if now < self.begin:
            return 0.0
        return math.exp(-5 * (1 - min(now / self.end, 1)) ** 2) if self.end else 1.0

    def __call__(self) -> float:
        """Return the factor of this iteration, 0 to 1.

        Raises:
            ValueError: if a ramp by epochs meets a loop that counts none.
        """
        if not self.end and not self.begin:
            return 1.0
        info = MessageHub.get_current_instance().runtime_info
        if self.by_epoch and info.get('max_epochs') == 1:
            raise ValueError(
                f'rampup by epochs (end={self.end}) needs a loop of several epochs: for a loop by iterations set '
                f'by_epoch=False and give begin and end in iterations'
            )
        now = info.get('epoch' if self.by_epoch else 'iter')
        if now is None:
            raise ValueError('rampup reads the progress of a Runner from the message hub, and there is none')
        return self.at(now)


@dataclass(frozen=True)
class SemiTrainCfg:
    """Weights of L_labeled + eta_1 L_unlabeled + eta_2 L_regularization (Eq. 19).

    Args:
        eta_1: of ISDA's term (Eq. 15); 0 leaves the plain method.
        eta_2: of the method's own term, when its ramp is over.
        rampup: of the method's own term, options of :class:`RampUp`.
        confidence: Eq. 15 leaves out samples whose largest probability is lower.

    Raises:
        ValueError: if a number is out of range.
    """

    eta_1: float = 0.0
    eta_2: float = 1.0
    rampup: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.0

    def __post_init__(self) -> None:
        for name in ('eta_1', 'eta_2'):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f'{name} must be a number, 0 or more, got {value!r}')
        if not isinstance(self.rampup, Mapping):
            raise ValueError(f'rampup must be a dict of begin, end and by_epoch, got {self.rampup!r}')
        if not 0 <= self.confidence <= 1:
            raise ValueError(f'confidence must be 0 to 1, got {self.confidence}')


def consistency_term(loss: nn.Module, logits: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """Return Eq. 15 for unlabeled logits and their softmax, with what a labeled loss knows.

    Args:
        loss: the ISDA loss of the classifier that made the logits, after its labeled pass: its statistics, its
            classifier and its lambda are taken.
        logits: (N, C) or (N, C, h, w).
        sample_weight: (N,) or (N, h, w).

    Raises:
        TypeError: if the loss is no ISDA loss.
        RuntimeError: if the loss is not bound to its classifier.
    """
    if not isinstance(loss, ISDALossBase):
        raise TypeError(
            f'eta_1 > 0 asks for the unlabeled term of ISDA, whose statistics an ISDA loss keeps, but the loss is a '
            f'{type(loss).__name__}: set the loss to ISDALoss (MMPretrain) or ISDASegLoss (MMSegmentation), or eta_1=0'
        )
    if not loss.is_augmenting(logits):  # With lambda_0 of 0 there are no statistics.
        return logits.sum() * 0
    inputs = (logits, logits.detach().softmax(1), loss.tap.weight, loss.statistics, loss.strength)
    return isda_consistency(*inputs, sample_weight=sample_weight)
