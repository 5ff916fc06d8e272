"""Large-margin softmax: an angular margin between the classes."""

from __future__ import annotations

import math

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .base import hard_labels


def large_margin_logits(
    features: Tensor, weight: Tensor, labels: Tensor, margin: int, blend: float | Tensor = 0.0
) -> Tensor:
    r"""Return the logits of a linear layer without bias whose own class must be reached under a larger angle.

    With the angle :math:`\theta` between feature and weight of the own class,

    .. math::
        z_{i y_i} = \|w_{y_i}\| \|a_i\| \frac{\psi(\theta) + b \cos\theta}{1 + b}, \qquad
        \psi(\theta) = (-1)^k \cos(m \theta) - 2 k, \quad \theta \in \Bigl[\frac{k \pi}{m}, \frac{(k + 1) \pi}{m}
        \Bigr]

    W. Liu et al., "Large-margin softmax loss for convolutional neural networks", 2016, Eqs. 4 to 6.

    Features are (N, A), the weight (C, A), the logits (N, C), in float32 or better. m is the margin: with 1 these are
    the logits of the layer; b, the blend, says how much of the plain logit is mixed in.
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        features, weight = features.to(dtype), weight.to(dtype)
        logits = features @ weight.t()
        index = labels.unsqueeze(1)
        own = logits.gather(1, index).squeeze(1)
        tiny = torch.finfo(dtype).tiny ** 0.5
        length = (features.norm(dim=1) * weight.norm(dim=1)[labels]).clamp_min(tiny)
        cosine = (own / length).clamp(-1, 1)
        # cos(m theta) as the Chebyshev polynomial of the cosine: smooth where the arc cosine is not.
        before, chebyshev = torch.ones_like(cosine), cosine
        for _ in range(margin - 1):
            before, chebyshev = chebyshev, 2 * cosine * chebyshev - before
        bounds = [math.cos(k * math.pi / margin) for k in range(1, margin)]
        k = torch.stack([cosine < bound for bound in bounds]).sum(0) if bounds else torch.zeros_like(labels)
        psi = (1 - 2 * (k % 2)) * chebyshev - 2 * k
        return logits.scatter(1, index, (length * (psi + blend * cosine) / (1 + blend)).unsqueeze(1))


@MODELS.register_module()
class LargeMarginClsHead(LinearClsHead):
    r"""A linear head without bias, trained with the large-margin softmax; see :func:`large_margin_logits`.

    Training begins near the plain logits and approaches the margin: after t iterations the blend is
    :math:`b = \max(b_{min}, b_0 / (1 + \gamma t))`. ISDA's paper leaves margin and blend out; these are choices of this
    project.

    Args:
        num_classes: C.
        in_channels: A.
        margin: m, 1 or more.
        blend_start: :math:`b_0`.
        blend_decay: :math:`\gamma`, per iteration.
        blend_min: :math:`b_{min}`.
        **kwargs: of ``LinearClsHead``.

    Buffers:
        num_iters: int64 scalar, iterations of training so far. Saved with the model.

    Raises:
        ValueError: if an option is out of range.
    """

    num_iters: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        margin: int = 2,
        blend_start: float = 1000.0,
        blend_decay: float = 0.1,
        blend_min: float = 5.0,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if margin < 1 or margin != int(margin):
            raise ValueError(f'margin must be a whole number, 1 or more, got {margin}')
        if min(blend_start, blend_decay, blend_min) < 0:
            raise ValueError(
                f'blend_start, blend_decay and blend_min must be 0 or more, got {blend_start}, {blend_decay}, '
                f'{blend_min}'
            )
        # The angle to the weight decides, so there is no bias.
        self.fc = nn.Linear(in_channels, num_classes, bias=False)
        self.margin, self.blend_start = int(margin), blend_start
        self.blend_decay, self.blend_min = blend_decay, blend_min
        self.register_buffer('num_iters', torch.zeros((), dtype=torch.int64))

    def loss(self, feats: tuple[Tensor], data_samples: list[DataSample], **kwargs) -> dict[str, Tensor]:
        """See ``ClsHead.loss``."""
        features = self.pre_logits(feats)
        if not self.training:
            return self._get_loss(self.fc(features), data_samples, **kwargs)
        labels = hard_labels(data_samples, self.num_classes, type(self).__name__, features.device)
        blend = (self.blend_start / (1 + self.blend_decay * self.num_iters)).clamp_min(self.blend_min)
        self.num_iters += 1
        logits = large_margin_logits(features, self.fc.weight, labels, self.margin, blend)
        return self._get_loss(logits, data_samples, **kwargs)
