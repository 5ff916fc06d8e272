"""Wide ResNet for images of 32x32 pixels."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .stages import blocks_per_stage, conv_init, three_stages


class WideBlock(nn.Module):
    """Pre-activation block: two times batch norm, ReLU, 3x3 convolution, with dropout before the second one.

    Where the shape changes, the shortcut is a bare 1x1 convolution of the first batch norm and ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.norm1(x))
        residual = self.conv2(self.dropout(self.relu(self.norm2(self.conv1(active)))))
        return residual + (x if self.shortcut is None else self.shortcut(active))


@MODELS.register_module()
class WideResNet(BaseBackbone):
    """Wide ResNet (arXiv:1605.07146): a stem of 16 channels, three stages of 16, 32 and 64 times `widen_factor`.

    Input: (N, in_channels, H, W). Output: a tuple of one map after the last batch norm and ReLU,
    (N, 64 widen_factor, H / 4, W / 4).

    Args:
        depth: 6 n + 4, with n blocks in each stage: 16, 22, 28, 40.
        widen_factor: how many times wider than a plain ResNet.
        dropout: probability of dropout within each block.
        in_channels: channels of the images.
        init_cfg: initialisation; by default normal with standard deviation sqrt(2 / (k^2 out)).

    Raises:
        ValueError: if there is no network of this depth, or an option is out of range.
    """

    def __init__(
        self, depth: int, *, widen_factor: int, dropout: float = 0.0, in_channels: int = 3, init_cfg: Any = None
    ) -> None:
        super().__init__(conv_init() if init_cfg is None else init_cfg)
        blocks = blocks_per_stage(depth, 6, 4, '16 or 28')
        if widen_factor < 1:
            raise ValueError(f'widen_factor must be at least 1, got {widen_factor}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be a probability below 1, got {dropout}')
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        stages = three_stages(16, 16 * widen_factor, blocks)
        self.stages = nn.Sequential(
            *(nn.Sequential(*(WideBlock(*shape, dropout=dropout) for shape in stage)) for stage in stages)
        )
        self.norm = nn.BatchNorm2d(64 * widen_factor)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.relu(self.norm(self.stages(self.stem(x)))),)
