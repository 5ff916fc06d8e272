"""The focal loss of the paper's Table 5 for the pixels of a decode head: a baseline to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.models.losses.utils import weight_reduce_loss
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..core.checks import check_focal


@MODELS.register_module()
class SoftmaxFocalLoss(nn.Module):
    r"""Cross entropy with less weight on pixels that are classified well.

    .. math:: \ell_i = -\alpha (1 - p_{i y_i})^\gamma \log p_{i y_i}, \qquad p = \mathrm{softmax}(z)

    T.-Y. Lin et al., "Focal loss for dense object detection", 2017, Eq. 5, with a softmax for more than two classes;
    MMSegmentation's ``FocalLoss`` has a sigmoid a class. ISDA's paper sets alpha = 0.5, gamma = 1. A mean counts
    ignored pixels, as that of ``CrossEntropyLoss`` does.

    Args:
        alpha: factor of all losses.
        gamma: 0 gives cross entropy times ``alpha``.
        use_sigmoid: must be False; here because configs that inherit from ``CrossEntropyLoss`` bring it along.
        loss_weight: factor of the loss.
        loss_name: its name in the log; it must begin with ``loss_`` to be trained on.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.0,
        use_sigmoid: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__()
        check_focal(alpha, gamma)
        if use_sigmoid:
            raise ValueError('use_sigmoid=True asks for a sigmoid a class: use FocalLoss of MMSegmentation for that')
        self.alpha, self.gamma, self.loss_weight, self.loss_name = alpha, gamma, loss_weight, loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        *,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Return the loss of one head.

        Args:
            cls_score: (N, C, H, W) logits.
            label: (N, H, W) integers.
            weight: (N, H, W) weight of each pixel, e.g. of a sampler.
            avg_factor: what the mean divides by, by default the number of pixels.
            reduction_override: ``'none'``, ``'mean'`` or ``'sum'`` in place of the mean.
            ignore_index: label of the pixels to ignore.

        Raises:
            IndexError: if a label is out of range (on the CPU).
            ValueError: if there is one channel alone.
        """
        if cls_score.shape[1] < 2:
            raise ValueError(f'a softmax needs two output channels for two classes, got {tuple(cls_score.shape)}')
        loss = F.cross_entropy(cls_score, label.long(), reduction='none', ignore_index=ignore_index)
        loss = self.alpha * (-torch.expm1(-loss)) ** self.gamma * loss
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction_override or 'mean', avg_factor)
