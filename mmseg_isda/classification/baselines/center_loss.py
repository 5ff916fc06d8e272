"""Center loss: features that gather around a centre of their class."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from .base import hard_labels


@MODELS.register_module()
class CenterLossClsHead(LinearClsHead):
    r"""A linear head whose loss adds the distance of the features to the centres of their classes.

    .. math::
        \ell = \ell_{\mathrm{CE}} + \frac{\eta}{2 N} \sum_i \|a_i - c_{y_i}\|^2, \qquad
        c_j \leftarrow c_j - \rho \frac{\sum_i [y_i = j] (c_j - a_i)}{1 + \sum_i [y_i = j]}

    Y. Wen et al., "A discriminative feature learning approach for deep face recognition", 2016, Eqs. 2 to 5, with the
    mean over the batch that ``CrossEntropyLoss`` takes, too. The centres follow their own rule, not the optimizer;
    several processes pool what they saw. ISDA's paper sets the rate of the centres to 0.5 and leaves out the weight;
    its default is that of Wen et al.

    Args:
        num_classes: C.
        in_channels: A.
        center_weight: :math:`\eta`, 0 or more.
        center_rate: :math:`\rho`, in [0, 1].
        **kwargs: of ``LinearClsHead``.

    Buffers:
        centers: (C, A) float32, saved with the model.

    Raises:
        ValueError: if an option is out of range.
    """

    centers: Tensor

    def __init__(
        self, num_classes: int, in_channels: int, center_weight: float = 0.003, center_rate: float = 0.5, **kwargs
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if not center_weight >= 0 or not 0 <= center_rate <= 1:
            raise ValueError(
                f'center_weight must be 0 or more and center_rate lie in [0, 1], got {center_weight}, {center_rate}'
            )
        self.center_weight, self.center_rate = center_weight, center_rate
        self.register_buffer('centers', torch.zeros(num_classes, in_channels))

    def loss(self, feats: tuple[Tensor], data_samples: list[DataSample], **kwargs) -> dict[str, Tensor]:
        """See ``ClsHead.loss``; the second term is ``loss_center``."""
        features = self.pre_logits(feats)
        labels = hard_labels(data_samples, self.num_classes, type(self).__name__, features.device)
        losses = self._get_loss(self.fc(features), data_samples, **kwargs)
        losses['loss_center'] = self.center_weight * center_distance(features, labels, self.centers)
        if self.training:
            self._move_centers(features.detach().float(), labels)
        return losses

    @torch.no_grad()
    def _move_centers(self, features: Tensor, labels: Tensor) -> None:
        """Take one step of the rule above, with the sums of all processes."""
        sums = torch.zeros_like(self.centers).index_add_(0, labels, features)
        count = torch.bincount(labels, minlength=self.num_classes).to(sums.dtype).unsqueeze(1)
        packed = torch.cat([sums, count], 1)
        all_reduce(packed)
        sums, count = packed[:, :-1], packed[:, -1:]
        step = (count * self.centers - sums) / (1 + count)
        # An overflow of mixed precision must not stay for ever.
        self.centers -= self.center_rate * torch.where(step.isfinite().all(1, keepdim=True), step, 0)


def center_distance(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Return the mean over (N, A) features of half the squared distance to the centre of their class."""
    own = centers[labels].to(torch.promote_types(features.dtype, torch.float32))
    return (features - own).square().sum(1).mean() / 2
