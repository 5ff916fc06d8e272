"""DenseNet-BC for images of 32x32 pixels."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones import DenseNet
from mmpretrain.registry import MODELS
from torch import nn

from .stages import blocks_per_stage, conv_init


@MODELS.register_module()
class CIFARDenseNet(DenseNet):
    """DenseNet-BC with three dense blocks (arXiv:1608.06993, section 3): MMPretrain's blocks after a bare 3x3 stem.

    The stem has twice the growth rate as channels and no batch norm; transitions halve the channels.

    Input: (N, in_channels, H, W). Output: a tuple of one map after the last batch norm and ReLU; 342 channels for the
    default.

    Args:
        depth: 6 n + 4, with n bottleneck layers in each block; the paper's is 100.
        growth_rate: channels that each layer adds.
        in_channels: channels of the images.
        **kwargs: what `DenseNet` takes (`drop_rate`, `memory_efficient`, `norm_cfg`, ...).

    Raises:
        ValueError: if there is no network of this depth.
    """

    def __init__(self, depth: int = 100, *, growth_rate: int = 12, in_channels: int = 3, **kwargs: Any) -> None:
        depths = [blocks_per_stage(depth, 6, 4, '100')] * 3
        arch = dict(growth_rate=growth_rate, depths=depths, init_channels=2 * growth_rate)
        super().__init__(arch, in_channels=in_channels, **{'init_cfg': conv_init(), **kwargs})
        self.stem = nn.Conv2d(in_channels, 2 * growth_rate, 3, padding=1, bias=False)
