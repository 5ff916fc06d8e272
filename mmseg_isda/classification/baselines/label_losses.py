"""The baselines that are a function of logits and labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ...core.checks import REDUCTIONS, check_choice, check_focal
from .base import check_hard_labels, reduced


class LabelLoss(nn.Module):
    """Base of losses with one value for each image, weighted and averaged as MMPretrain's ``CrossEntropyLoss`` does.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: factor of the loss.
    """

    def __init__(self, *, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        self.reduction, self.loss_weight = reduction, loss_weight

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Return (N,) losses of (N, C) logits and (N,) labels."""
        raise NotImplementedError

    def forward(self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, **call: Any) -> Tensor:
        """Return the loss of one head.

        Args:
            cls_score: (N, C) logits.
            label: (N,) integers.
            weight: (N,) weight of each image.
            call: options of :func:`.reduced` for this call.

        Raises:
            TypeError: if the labels are soft.
            ValueError: if a label is out of range (on the CPU).
        """
        check_hard_labels(label, cls_score.shape[1], type(self).__name__)
        return self.loss_weight * reduced(self.losses(cls_score, label.long()), weight, self.reduction, **call)


@MODELS.register_module()
class DisturbLabelLoss(LabelLoss):
    r"""Cross entropy with labels of which some are replaced, anew in each iteration, by one drawn from all classes.

    .. math:: P(\tilde y = c) = 1 - \tfrac{C - 1}{C} \alpha \text{ for } c = y, \qquad \tfrac{\alpha}{C} \text{ else}

    L. Xie et al., "DisturbLabel: Regularizing CNN on the loss layer", 2016, Eq. 2. ISDA's paper sets alpha = 0.05 (0.1
    for ResNet-110 on CIFAR-100). In evaluation it is plain cross entropy.

    Args:
        noise_rate: alpha, in [0, 1].
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, noise_rate: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= noise_rate <= 1:
            raise ValueError(f'noise_rate must lie in [0, 1], got {noise_rate}')
        self.noise_rate = noise_rate

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        if self.training:
            label = disturbed(label, cls_score.shape[1], self.noise_rate)
        return F.cross_entropy(cls_score, label, reduction='none')


def disturbed(label: Tensor, num_classes: int, noise_rate: float) -> Tensor:
    """Return (N,) labels of which each is replaced with probability ``noise_rate`` by any class, its own among them."""
    chosen = torch.rand(label.shape, device=label.device) < noise_rate
    return torch.where(chosen, torch.randint_like(label, num_classes), label)


@MODELS.register_module()
class SoftmaxFocalLoss(LabelLoss):
    r"""Cross entropy with less weight on images that are classified well.

    .. math:: \ell_i = -\alpha (1 - p_{i y_i})^\gamma \log p_{i y_i}, \qquad p = \mathrm{softmax}(z)

    T.-Y. Lin et al., "Focal loss for dense object detection", 2017, Eq. 5, with a softmax for more than two classes.
    ISDA's paper sets alpha = 0.5, gamma = 1.

    Args:
        alpha: factor of all losses.
        gamma: 0 gives cross entropy times ``alpha``.
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, alpha: float = 0.5, gamma: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_focal(alpha, gamma)
        self.alpha, self.gamma = alpha, gamma

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        loss = F.cross_entropy(cls_score, label, reduction='none')
        return self.alpha * (-torch.expm1(-loss)) ** self.gamma * loss


@MODELS.register_module()
class LqLoss(LabelLoss):
    r"""Between cross entropy (q to 0) and mean absolute error (q = 1): the negative Box-Cox transformation.

    .. math:: \ell_i = \frac{1 - p_{i y_i}^q}{q}, \qquad p = \mathrm{softmax}(z)

    Z. Zhang and M. Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels", 2018,
    Eq. 6, without its truncation. ISDA's paper sets q = 0.4.

    Args:
        q: in (0, 1].
        **kwargs: ``reduction`` and ``loss_weight`` of :class:`LabelLoss`.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(self, q: float = 0.4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < q <= 1:
            raise ValueError(f'q must lie in (0, 1], got {q}')
        self.q = q

    def losses(self, cls_score: Tensor, label: Tensor) -> Tensor:
        # 1 - exp(q log p) without cancellation where p is near 1, and finite where it is 0.
        log_p = -F.cross_entropy(cls_score, label, reduction='none')
        return -torch.expm1(self.q * log_p) / self.q
