"""ResNet, SE-ResNet and ResNeXt for images of 32x32 pixels, made of MMPretrain's blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet_CIFAR, ResNeXt
from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.models.backbones.resnext import Bottleneck
from mmpretrain.models.utils import SELayer
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .stages import blocks_per_stage, conv_init

_THREE_STAGES = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,), zero_init_residual=False)


@MODELS.register_module()
class CIFARResNet(ResNet_CIFAR):
    """ResNet with three stages of basic blocks (arXiv:1512.03385, section 4.2): a 3x3 stem, 16, 32 and 64 channels.

    The shortcut is a 1x1 convolution with batch norm wherever the shape changes.

    Input: (N, in_channels, H, W). Output: a tuple of the maps that `out_indices` names; the last has 64 channels.

    Args:
        depth: 6 n + 2, with n blocks in each stage: 20, 32, 44, 56, 110 and so on.
        base_channels: channels of the stem and of the first stage.
        dropout: rate of the dropout before the second convolution of each block, as in Wide-ResNet.
        **kwargs: what `ResNet_CIFAR` takes (`in_channels`, `out_indices`, `norm_cfg`, ...).

    Raises:
        ValueError: if there is no network of this depth, or `dropout` is out of range.
    """

    block_type: type[BasicBlock] = BasicBlock

    def __init__(self, depth: int, *, base_channels: int = 16, dropout: float = 0.0, **kwargs: Any) -> None:
        # Of the instance: the host looks the blocks of each stage up by depth.
        self.arch_settings = {depth: (self.block_type, (blocks_per_stage(depth, 6, 2, '20, 32 or 110'),) * 3)}
        settings = dict(_THREE_STAGES, stem_channels=base_channels, init_cfg=conv_init())
        super().__init__(depth, base_channels=base_channels, **{**settings, **kwargs})
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must lie in [0, 1), got {dropout}')
        for block in self.modules():
            if isinstance(block, BasicBlock) and dropout:
                # A hook, so that the names of the weights stay.
                block.conv2.register_forward_pre_hook(partial(_drop, rate=dropout))


def _drop(module: nn.Module, inputs: tuple[Tensor], *, rate: float) -> Tensor:
    return F.dropout(inputs[0], rate, module.training)


class SEBasicBlock(BasicBlock):
    """Basic block that weighs the channels of its residual branch, after its last batch norm (arXiv:1709.01507).

    The hidden layer of the weighing has a sixteenth of the channels, at least one; no biases.
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        self.se_layer = SELayer(out_channels, squeeze_channels=max(out_channels // 16, 1), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(shortcut + self.drop_path(self.se_layer(residual)))


@MODELS.register_module()
class CIFARSEResNet(CIFARResNet):
    """`CIFARResNet` with squeeze and excitation in every block, see :class:`SEBasicBlock`; the paper's depth is 110."""

    block_type = SEBasicBlock


@MODELS.register_module()
class CIFARResNeXt(ResNeXt, ResNet_CIFAR):
    """ResNeXt with three stages of 3x3 bottlenecks (arXiv:1611.05431, section 5.3) after a 3x3 stem.

    The stem has 64 channels, the stages' outputs 256, 512 and 1024; the stride is in the 3x3 convolution.

    Input: (N, in_channels, H, W). Output: a tuple of the maps that `out_indices` names; the last has 1024 channels.

    Args:
        depth: 9 n + 2, with n blocks in each stage; the paper's is 29.
        groups: groups of the 3x3 convolution.
        width_per_group: channels of one group in the first stage; they double with each stage.
        **kwargs: what `ResNeXt` takes (`in_channels`, `out_indices`, `norm_cfg`, ...).

    Raises:
        ValueError: if there is no network of this depth.
    """

    def __init__(self, depth: int = 29, *, groups: int = 8, width_per_group: int = 64, **kwargs: Any) -> None:
        self.arch_settings = {depth: (Bottleneck, (blocks_per_stage(depth, 9, 2, '29'),) * 3)}
        settings = {**_THREE_STAGES, 'init_cfg': conv_init(), **kwargs}
        super().__init__(depth, groups=groups, width_per_group=width_per_group, **settings)
