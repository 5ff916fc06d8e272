"""Augmentation by a generative adversarial network: a part of each batch is generated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from torch import Tensor

from ...files import check_file
from .base import hard_labels


@MODELS.register_module()
class GeneratedImagesPreprocessor(ClsDataPreprocessor):
    """Replace a part of each training batch by generated images of the same classes.

    The generator is one of all classes, in TorchScript: the ``generator.pt`` of a config
    ``configs/analysis/wgan-conditional_...``. (The paper trains a WGAN for each class.) It is no part of the model: it
    is not saved with it and not trained.

    Args:
        generator: file; takes noise (N, latent) and labels (N,), gives images in the channel order of the data set.
        latent: size of the noise.
        share: of the batch; 1/6 in the paper (Appendix C).
        bounds: black and white of the generator.
        **kwargs: of ``ClsDataPreprocessor``.

    Raises:
        ValueError: if ``share`` is out of range.
    """

    def __init__(
        self,
        generator: str,
        latent: int = 100,
        share: float = 1 / 6,
        bounds: Sequence[float] = (-1.0, 1.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= share <= 1:
            raise ValueError(f'share must lie in [0, 1], got {share}')
        self.generator, self.latent, self.share, self.bounds = generator, latent, share, tuple(bounds)

    def forward(self, data: dict, training: bool = False) -> dict:
        """See the base class.

        Raises:
            MissingPathError: if there is no such generator.
            TypeError: if the labels are soft.
        """
        data = super().forward(data, training)
        count = round(self.share * len(data['inputs']))
        if training and count:
            owner = type(self).__name__
            labels = hard_labels(data['data_samples'][:count], self.num_classes, owner, data['inputs'].device)
            images = super().forward(dict(inputs=self.generate(labels), data_samples=None), False)['inputs']
            data['inputs'] = torch.cat([images, data['inputs'][count:]])
        return data

    @torch.no_grad()
    def generate(self, labels: Tensor) -> Tensor:
        """Return (N, channels, H, W) images of (N,) classes, 0 to 255."""
        low, high = self.bounds
        noise = torch.randn(len(labels), self.latent, device=labels.device)
        return 255 * (_load(self.generator, str(labels.device))(noise, labels) - low) / (high - low)


@cache  # Not an attribute: its weights would be parameters of the model.
def _load(path: str, device: str) -> torch.jit.ScriptModule:
    hint = 'tools/train.py configs/analysis/wgan-conditional_cifar10.py writes it'
    return torch.jit.load(str(check_file(path, 'generator', hint)), map_location=device).eval()
