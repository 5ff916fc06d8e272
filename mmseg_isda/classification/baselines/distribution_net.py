"""DistributionNet: features as Gaussians whose variance the network predicts."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...core.explicit import uncertainty_loss
from .base import hard_labels


@MODELS.register_module()
class DistributionNetClsHead(LinearClsHead):
    r"""A linear head that is trained on samples around each feature, too, with a learned variance for each image.

    .. math::
        \ell = \ell_{\mathrm{CE}}(a) + \frac{\alpha}{M} \sum_m \ell_{\mathrm{CE}}(a + \sigma(a) \epsilon_m) +
        \beta \max(0, \gamma - H), \qquad \epsilon_m \sim N(0, I)

    H is the mean entropy of the Gaussians, per feature; its hinge keeps the variance from vanishing. In evaluation the
    head is a linear one. T. Yu et al., "Robust person re-identification by modelling feature uncertainty", 2019,
    section 3. ISDA's paper names no setting; these defaults are choices of this project.

    Args:
        num_classes: C.
        in_channels: A.
        num_samples: M.
        sample_weight: :math:`\alpha`.
        entropy_weight: :math:`\beta`.
        entropy_margin: :math:`\gamma` in nats; by default that of a standard deviation of 1.
        **kwargs: of ``LinearClsHead``.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_samples: int = 1,
        sample_weight: float = 0.1,
        entropy_weight: float = 0.001,
        entropy_margin: float = 0.5 * math.log(2 * math.pi * math.e),
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if num_samples < 1 or not min(sample_weight, entropy_weight) >= 0:
            raise ValueError(
                f'num_samples must be at least 1, sample_weight and entropy_weight 0 or more, got {num_samples}, '
                f'{sample_weight}, {entropy_weight}'
            )
        self.log_variance = nn.Linear(in_channels, in_channels)
        self.num_samples, self.sample_weight = num_samples, sample_weight
        self.entropy_weight, self.entropy_margin = entropy_weight, entropy_margin

    def loss(self, feats: tuple[Tensor], data_samples: list[DataSample], **kwargs) -> dict[str, Tensor]:
        """See ``ClsHead.loss``; the other terms are ``loss_samples`` and ``loss_entropy``."""
        features = self.pre_logits(feats)
        labels = hard_labels(data_samples, self.num_classes, type(self).__name__, features.device)
        losses = self._get_loss(self.fc(features), data_samples, **kwargs)
        if not self.training:
            return losses
        log_variance = self.log_variance(features)
        noise = torch.randn(self.num_samples, *features.shape, device=features.device, dtype=features.dtype)
        moved = self.fc(features + (log_variance / 2).exp() * noise)
        losses['loss_samples'] = self.sample_weight * F.cross_entropy(
            moved.flatten(0, 1), labels.repeat(self.num_samples)
        )
        entropy = 0.5 * (math.log(2 * math.pi * math.e) + log_variance.mean(1))
        losses['loss_entropy'] = self.entropy_weight * uncertainty_loss(entropy, self.entropy_margin)
        return losses
