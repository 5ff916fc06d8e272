"""Decode heads of the paper's recipe that MMSegmentation does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SlimASPPHead(BaseDecodeHead):
    """Atrous spatial pyramid pooling with narrow branches and a 1x1 bottleneck.

    DeepLab-v3's head (arXiv:1706.05587) as the ISDA paper's segmentation experiments have it: an image-pooling branch
    and one convolution a dilation (1x1 where it is 1, else 3x3), each `branch_channels` wide; their concatenation goes
    through a 1x1 convolution to `channels`, then dropout and the classifier. MMSegmentation's `ASPPHead` has branches
    as wide as `channels` and a 3x3 bottleneck instead.

    Input: the backbone's maps, of which `in_index` is (N, in_channels, h, w). Output: logits (N, num_classes, h, w).

    Args:
        branch_channels: channels of each branch.
        dilations: dilation of each convolution branch.
        **kwargs: what `BaseDecodeHead` takes (`in_channels`, `channels`, `num_classes`, `loss_decode`, ...).

    Raises:
        ValueError: `branch_channels` or a dilation below 1, no dilation, or an `input_transform` that yields a list.
    """

    def __init__(
        self, *, branch_channels: int = 256, dilations: Sequence[int] = (1, 12, 24, 36), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if branch_channels < 1:
            raise ValueError(f'branch_channels must be at least 1, got {branch_channels}')
        if not dilations or min(dilations) < 1:
            raise ValueError(f'dilations must be one or more integers of at least 1, got {tuple(dilations)}')
        if self.input_transform == 'multiple_select':
            raise ValueError(
                "SlimASPPHead reads one feature map: input_transform must be None or 'resize_concat', "
                "got 'multiple_select'"
            )
        layers = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.image_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvModule(self.in_channels, branch_channels, 1, **layers)
        )
        self.branches = ASPPModule(tuple(dilations), self.in_channels, branch_channels, **layers)
        self.bottleneck = ConvModule((len(dilations) + 1) * branch_channels, self.channels, 1, **layers)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return logits at the feature map's size."""
        x = self._transform_inputs(inputs)
        pooled = resize(self.image_pool(x), size=x.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return self.cls_seg(self.bottleneck(torch.cat([pooled, *self.branches(x)], dim=1)))
