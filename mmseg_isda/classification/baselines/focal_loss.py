"""The focal loss of a softmax."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from .base import LabelLoss


@MODELS.register_module()
class SoftmaxFocalLoss(LabelLoss):
    r"""Cross entropy with less weight on images that are classified well.

    .. math:: \ell_i = -\alpha (1 - p_{i y_i})^\gamma \log p_{i y_i}, \qquad p = \mathrm{softmax}(z)

    T.-Y. Lin et al., "Focal loss for dense object detection", 2017, Eq. 5, with a softmax for more than two classes.
    ISDA's paper sets alpha = 0.5, gamma = 1.

    Args:
        alpha: factor of all losses.
        gamma: 0 gives cross entropy times ``alpha``.
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`.LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, alpha: float = 0.5, gamma: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not alpha > 0 or not (gamma == 0 or gamma >= 1):
            # Below 1 the derivative is infinite at p = 1.
            raise ValueError(f'alpha must be above 0 and gamma 0, or 1 or more, got alpha={alpha}, gamma={gamma}')
        self.alpha, self.gamma = alpha, gamma

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See the base class."""
        loss = F.cross_entropy(cls_score, label, reduction='none')
        return self.alpha * (-torch.expm1(-loss)) ** self.gamma * loss

    def extra_repr(self) -> str:
        return f'alpha={self.alpha}, gamma={self.gamma}'
