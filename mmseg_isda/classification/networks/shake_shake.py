"""Shake-Shake networks for images of 32x32 pixels."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_norm_layer
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from .initialisation import conv_init


class _Shake(torch.autograd.Function):
    """alpha a + (1 - alpha) b forwards, and the same with beta in the place of alpha backwards."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(beta)
        return torch.lerp(b, a, alpha)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (beta,) = ctx.saved_tensors
        grad_a = beta * grad
        return grad_a, grad - grad_a, None, None


def shake(a: Tensor, b: Tensor, *, training: bool) -> Tensor:
    """Return the random mean of two branches (arXiv:1705.07485, section 1): alpha a + (1 - alpha) b.

    In training, alpha and the coefficient beta of the gradients are drawn uniformly from [0, 1), independently of each
    other and for every sample. In evaluation the result is the plain mean.

    Args:
        a: (N, C, H, W).
        b: (N, C, H, W).
        training: whether to draw.

    Returns:
        (N, C, H, W).
    """
    if not training:
        return (a + b) / 2
    alpha, beta = torch.rand(2, len(a), 1, 1, 1, device=a.device).to(a.dtype)
    return _Shake.apply(a, b, alpha, beta)


class SkewedShortcut(nn.Module):
    """Change the shape in two paths that sample the map a pixel apart, each 1x1 to half of the channels."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm_cfg: dict) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        shifted = F.pad(x, (-1, 1, -1, 1))  # the pixel below and to the right; zeros beyond the border
        paths = [
            conv(view[:, :, :: self.stride, :: self.stride]) for conv, view in ((self.conv1, x), (self.conv2, shifted))
        ]
        return self.norm(torch.cat(paths, dim=1))


class ShakeBlock(nn.Module):
    """Shortcut plus the random mean of two branches of two 3x3 convolutions each."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm_cfg: dict) -> None:
        super().__init__()
        self.branch1, self.branch2 = (self._branch(in_channels, out_channels, stride, norm_cfg) for _ in range(2))
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = SkewedShortcut(in_channels, out_channels, stride=stride, norm_cfg=norm_cfg)

    def add_idle_shortcut(self, norm_cfg: dict) -> None:
        """Add a shortcut that is never run nor trained, unless the block has one."""
        if self.shortcut is None:
            channels = self.branch1[1].in_channels
            self.idle = SkewedShortcut(channels, channels, stride=1, norm_cfg=norm_cfg).requires_grad_(False)

    @staticmethod
    def _branch(in_channels: int, out_channels: int, stride: int, norm_cfg: dict) -> nn.Sequential:
        return nn.Sequential(
            nn.ReLU(),  # not in place: branches and shortcut read the same map
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            build_norm_layer(norm_cfg, out_channels)[1],
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            build_norm_layer(norm_cfg, out_channels)[1],
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = shake(self.branch1(x), self.branch2(x), training=self.training)
        return residual + (x if self.shortcut is None else self.shortcut(x))


@MODELS.register_module()
class ShakeShake(BaseBackbone):
    """Shake-Shake network (arXiv:1705.07485): two branches a block, mixed at random, anew forwards and backwards.

    The stem is a 3x3 convolution with bias to 16 channels and a batch norm; the three stages have `base_channels`, then
    twice and four times as many.

    Input: (N, in_channels, H, W). Output: a tuple of one map after a ReLU, (N, 4 base_channels, H / 4, W / 4).

    Args:
        depth: 6 n + 2, with n blocks in each stage; the paper's is 26.
        base_channels: channels of each branch in the first stage; an even number: 32 or 112 in the paper.
        in_channels: channels of the images.
        idle_shortcuts: give every block the weights of a shortcut, which only the first block of a stage uses. The
            ISDA paper's 3.0 M and 36.4 M parameters count them (2.9 M and 35.6 M without); the function is the same.
        norm_cfg: kind of normalisation.
        init_cfg: initialisation; by default normal with standard deviation sqrt(2 / (k^2 in)).

    Raises:
        ValueError: if there is no network of this depth, or `base_channels` is not a positive even number.
    """

    def __init__(
        self,
        depth: int = 26,
        *,
        base_channels: int = 32,
        in_channels: int = 3,
        idle_shortcuts: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(conv_init('fan_in') if init_cfg is None else init_cfg)
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f'depth must be 6 n + 2 with n of at least 1, such as 26, got {depth}')
        if base_channels < 2 or base_channels % 2:
            raise ValueError(f'base_channels must be a positive even number, got {base_channels}')
        norm_cfg = norm_cfg or dict(type='BN')
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, padding=1), build_norm_layer(norm_cfg, 16)[1])
        layers, channels = [], 16
        for stage in range(3):
            width = base_channels * 2**stage
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(ShakeBlock(channels, width, stride=stride, norm_cfg=norm_cfg))
                if idle_shortcuts:
                    layers[-1].add_idle_shortcut(norm_cfg)
                channels = width
        self.blocks = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (F.relu(self.blocks(self.stem(x))),)
