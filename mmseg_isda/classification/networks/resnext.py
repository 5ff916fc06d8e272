"""ResNeXt for images of 32x32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR, ResNeXt
from mmpretrain.models.backbones.resnext import Bottleneck
from mmpretrain.registry import MODELS

from .initialisation import conv_init


@MODELS.register_module()
class CIFARResNeXt(ResNeXt, ResNet_CIFAR):
    """ResNeXt with three stages of 3x3 bottlenecks (arXiv:1611.05431, section 5.3): MMPretrain's blocks, a 3x3 stem.

    The stem has 64 channels, the stages' outputs 256, 512 and 1024; the stride is in the 3x3 convolution.

    Input: (N, in_channels, H, W). Output: a tuple of the maps that `out_indices` names; the last has 1024 channels.

    Args:
        depth: 9 n + 2, with n blocks in each stage; the paper's is 29.
        groups: groups of the 3x3 convolution.
        width_per_group: channels of one group in the first stage; they double with each stage.
        out_indices: stages whose maps are returned.
        **kwargs: what `ResNeXt` takes (`in_channels`, `norm_cfg`, `frozen_stages`, ...).

    Raises:
        ValueError: if there is no network of this depth.
    """

    def __init__(
        self,
        depth: int = 29,
        *,
        groups: int = 8,
        width_per_group: int = 64,
        out_indices: Sequence[int] = (2,),
        **kwargs: Any,
    ) -> None:
        blocks, rest = divmod(depth - 2, 9)
        if rest or blocks < 1:
            raise ValueError(f'depth must be 9 n + 2 with n of at least 1, such as 29, got {depth}')
        # Of the instance: the host looks the blocks of each stage up by depth.
        self.arch_settings = {depth: (Bottleneck, (blocks,) * 3)}
        settings = dict(
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=out_indices,
            zero_init_residual=False,
            init_cfg=conv_init(),
        )
        super().__init__(depth, groups=groups, width_per_group=width_per_group, **{**settings, **kwargs})
