"""Stages of the paper's CIFAR networks: blocks by depth, channels and strides, and how convolutions begin."""

from __future__ import annotations


def conv_init(mode: str = 'fan_out') -> list[dict]:
    """Return MMEngine's ``init_cfg`` for normal weights of convolutions, and batch norms that begin as the identity.

    Args:
        mode: with ``'fan_out'`` the standard deviation is sqrt(2 / (k^2 out)), where k is the kernel's size and out the
            output channels of all groups; with ``'fan_in'`` the input channels of one group take the place of out.
    """
    return [
        dict(type='Kaiming', layer='Conv2d', mode=mode, nonlinearity='relu', distribution='normal'),
        dict(type='Constant', layer='_BatchNorm', val=1),
    ]


def blocks_per_stage(depth: int, layers: int, others: int, usual: str) -> int:
    """Return n of a depth of ``layers * n + others``; raise ValueError, which names ``usual`` depths, without one."""
    blocks, rest = divmod(depth - others, layers)
    if rest or blocks < 1:
        raise ValueError(f'depth must be {layers} n + {others} with n of at least 1, such as {usual}, got {depth}')
    return blocks


def three_stages(stem: int, width: int, blocks: int) -> list[list[tuple[int, int, int]]]:
    """Return (input channels, output channels, stride) of each block in stages of 1, 2, 4 times ``width`` channels."""
    entries = ((stem, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
    return [[(into, out, stride), *[(out, out, 1)] * (blocks - 1)] for into, out, stride in entries]
