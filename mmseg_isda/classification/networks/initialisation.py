"""How the paper's CIFAR networks begin."""

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
