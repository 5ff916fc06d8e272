"""ResNet and SE-ResNet for images of 32x32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock, ResLayer
from mmpretrain.models.utils import SELayer
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .initialisation import conv_init


@MODELS.register_module()
class CIFARResNet(ResNet_CIFAR):
    """ResNet with three stages of basic blocks (arXiv:1512.03385, section 4.2): a 3x3 stem, 16, 32 and 64 channels.

    The shortcut is a 1x1 convolution with batch norm wherever the shape changes.

    Input: (N, in_channels, H, W). Output: a tuple of the maps that `out_indices` names; the last has 64 channels.

    Args:
        depth: 6 n + 2, with n blocks in each stage: 20, 32, 44, 56, 110 and so on.
        base_channels: channels of the stem and of the first stage.
        out_indices: stages whose maps are returned.
        dropout: rate of the dropout before the second convolution of each block, as in Wide-ResNet.
        **kwargs: what `ResNet_CIFAR` takes (`in_channels`, `norm_cfg`, `frozen_stages`, ...).

    Raises:
        ValueError: if there is no network of this depth, or `dropout` is out of range.
    """

    block_type: type[BasicBlock] = BasicBlock

    def __init__(
        self,
        depth: int,
        *,
        base_channels: int = 16,
        out_indices: Sequence[int] = (2,),
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f'depth must be 6 n + 2 with n of at least 1, such as 20, 32 or 110, got {depth}')
        # Of the instance: the host looks the blocks of each stage up by depth.
        self.arch_settings = {depth: (self.block_type, (blocks,) * 3)}
        settings = dict(
            stem_channels=base_channels,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            zero_init_residual=False,
            init_cfg=conv_init(),
        )
        super().__init__(depth, base_channels=base_channels, out_indices=out_indices, **{**settings, **kwargs})
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

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        se_ratio: the hidden layer of the weighing has `out_channels // se_ratio` channels, at least one; no biases.
        **kwargs: what `BasicBlock` takes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, se_ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(in_channels, out_channels, **kwargs)
        self.se_layer = SELayer(out_channels, squeeze_channels=max(out_channels // se_ratio, 1), bias=False)

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
    """`CIFARResNet` with squeeze and excitation in every block.

    Args:
        depth: 6 n + 2; the paper's is 110.
        se_ratio: see :class:`SEBasicBlock`.
        **kwargs: what `CIFARResNet` takes.

    Raises:
        ValueError: if there is no network of this depth, or `se_ratio` is below 1.
    """

    block_type = SEBasicBlock

    def __init__(self, depth: int, *, se_ratio: int = 16, **kwargs: Any) -> None:
        if se_ratio < 1:
            raise ValueError(f'se_ratio must be at least 1, got {se_ratio}')
        self.se_ratio = se_ratio
        super().__init__(depth, **kwargs)

    def make_res_layer(self, **kwargs: Any) -> ResLayer:
        return ResLayer(se_ratio=self.se_ratio, **kwargs)
