"""Shake-Shake networks for images of 32x32 pixels."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from .stages import blocks_per_stage, conv_init, three_stages


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
    """Return the random mean of two (N, C, H, W) branches (arXiv:1705.07485, section 1): alpha a + (1 - alpha) b.

    In training, alpha and the coefficient beta of the gradients are drawn uniformly from [0, 1), independently of each
    other and for every sample. In evaluation the result is the plain mean.
    """
    if not training:
        return (a + b) / 2
    alpha, beta = torch.rand(2, len(a), 1, 1, 1, device=a.device).to(a.dtype)
    return _Shake.apply(a, b, alpha, beta)


class SkewedShortcut(nn.Module):
    """Change the shape in two paths that sample the map a pixel apart, each 1x1 to half of the channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        shifted = F.pad(x, (-1, 1, -1, 1))  # the pixel below and to the right; zeros beyond the border
        paths = [
            conv(view[:, :, :: self.stride, :: self.stride]) for conv, view in ((self.conv1, x), (self.conv2, shifted))
        ]
        return self.norm(torch.cat(paths, dim=1))


class ShakeBlock(nn.Module):
    """Shortcut plus the random mean of two branches of two 3x3 convolutions each."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, idle_shortcut: bool = False) -> None:
        super().__init__()
        self.branch1, self.branch2 = (self._branch(in_channels, out_channels, stride) for _ in range(2))
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = SkewedShortcut(in_channels, out_channels, stride)
        elif idle_shortcut:  # never run nor trained
            self.idle = SkewedShortcut(in_channels, out_channels, stride).requires_grad_(False)

    @staticmethod
    def _branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ReLU(),  # not in place: branches and shortcut read the same map
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
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
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(conv_init('fan_in') if init_cfg is None else init_cfg)
        blocks = blocks_per_stage(depth, 6, 2, '26')
        if base_channels < 2 or base_channels % 2:
            raise ValueError(f'base_channels must be a positive even number, got {base_channels}')
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, padding=1), nn.BatchNorm2d(16))
        shapes = chain(*three_stages(16, base_channels, blocks))
        self.blocks = nn.Sequential(*(ShakeBlock(*shape, idle_shortcut=idle_shortcuts) for shape in shapes))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (F.relu(self.blocks(self.stem(x))),)
