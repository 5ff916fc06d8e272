"""Implicit semantic data augmentation (ISDA, T-PAMI 2021) for MMSegmentation and its sister toolkits.

Importing this package registers ``ISDAHook`` in MMEngine and, where MMSegmentation is installed, ``ISDASegLoss`` and
the rest of :mod:`mmseg_isda.segmentation` in MMSegmentation. :mod:`mmseg_isda.core` needs nothing but PyTorch.
"""

from importlib.util import find_spec

from .version import __version__

if find_spec('mmengine') is not None:
    from . import engine  # noqa: F401

    if find_spec('mmseg') is not None:
        from . import segmentation  # noqa: F401

__all__ = ['__version__']
