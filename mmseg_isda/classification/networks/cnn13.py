"""The network of the paper's semi-supervised experiments."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .stages import conv_init


@MODELS.register_module()
class CNN13(BaseModule):
    """CNN-13 for images of 32x32 pixels (Table 10 of the paper), with batch norm after each convolution.

    Input: (N, in_channels, 32, 32). Output: a tuple of one (N, widths[-1], 6, 6) map, for ``GlobalAveragePooling``.
    With a classifier of ten classes it has 3.122 M parameters.

    Args:
        in_channels: of the images.
        widths: channels of the three convolutions of the first stage, of those of the second, and of the last three.
        dropout: probability after each of the two poolings.
        noise: standard deviation of noise that training adds to the input.
        init_cfg: MMEngine's initialization; by default normal weights by fan-out, for the leaky ReLU.

    Raises:
        ValueError: if there are not five widths.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        widths: tuple[int, ...] = (128, 256, 512, 256, 128),
        dropout: float = 0.5,
        noise: float = 0.0,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(conv_init() if init_cfg is None else init_cfg)
        if len(widths) != 5:
            raise ValueError(f'widths must be five numbers, of the two stages and the last three layers, got {widths}')
        self.noise = noise
        layers: list[nn.Module] = []
        outputs = [widths[0]] * 3 + [widths[1]] * 3 + list(widths[2:])
        for number, (inputs, width) in enumerate(zip([in_channels, *outputs], outputs, strict=False)):
            layers += [
                nn.Conv2d(inputs, width, 3 if number < 7 else 1, padding=1 if number < 6 else 0, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1, inplace=True),
            ]
            if number in (2, 5):
                layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        return (self.layers(x),)
