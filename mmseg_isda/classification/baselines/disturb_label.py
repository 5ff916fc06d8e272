"""Labels that are disturbed at random."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from .base import LabelLoss


@MODELS.register_module()
class DisturbLabelLoss(LabelLoss):
    r"""Cross entropy with labels of which some are replaced, anew in each iteration, by one drawn from all classes.

    .. math:: P(\tilde y = c) = 1 - \tfrac{C - 1}{C} \alpha \text{ for } c = y, \qquad \tfrac{\alpha}{C} \text{ else}

    L. Xie et al., "DisturbLabel: Regularizing CNN on the loss layer", 2016, Eq. 2. ISDA's paper sets alpha = 0.05 (0.1
    for ResNet-110 on CIFAR-100). In evaluation it is plain cross entropy.

    Args:
        noise_rate: alpha, in [0, 1].
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`.LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, noise_rate: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= noise_rate <= 1:
            raise ValueError(f'noise_rate must lie in [0, 1], got {noise_rate}')
        self.noise_rate = noise_rate

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See the base class."""
        if self.training:
            label = disturbed(label, cls_score.shape[1], self.noise_rate)
        return F.cross_entropy(cls_score, label, reduction='none')

    def extra_repr(self) -> str:
        return f'noise_rate={self.noise_rate}'


def disturbed(label: Tensor, num_classes: int, noise_rate: float) -> Tensor:
    """Return labels of which each is replaced with probability ``noise_rate`` by any class, its own among them.

    Args:
        label: (N,) int64.
        num_classes: C.
        noise_rate: in [0, 1].
    """
    chosen = torch.rand(label.shape, device=label.device) < noise_rate
    return torch.where(chosen, torch.randint_like(label, num_classes), label)
