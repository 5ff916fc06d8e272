"""The L_q loss, which is robust to wrong labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from .base import LabelLoss


@MODELS.register_module()
class LqLoss(LabelLoss):
    r"""Between cross entropy (q to 0) and mean absolute error (q = 1): the negative Box-Cox transformation.

    .. math:: \ell_i = \frac{1 - p_{i y_i}^q}{q}, \qquad p = \mathrm{softmax}(z)

    Z. Zhang and M. Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels", 2018,
    Eq. 6, without its truncation. ISDA's paper sets q = 0.4.

    Args:
        q: in (0, 1].
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`.LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, q: float = 0.4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < q <= 1:
            raise ValueError(f'q must lie in (0, 1], got {q}')
        self.q = q

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """See the base class."""
        # 1 - exp(q log p) without cancellation where p is near 1, and finite where it is 0.
        log_p = -F.cross_entropy(cls_score, label, reduction='none')
        return -torch.expm1(self.q * log_p) / self.q

    def extra_repr(self) -> str:
        return f'q={self.q}'
