"""Implicit semantic data augmentation (ISDA, T-PAMI 2021) for MMSegmentation and its sister toolkits.

Importing this package registers ``ISDAHook`` in MMEngine and, where MMSegmentation is installed, ``ISDASegLoss`` and
the rest of :mod:`mmseg_isda.segmentation` in MMSegmentation. :mod:`mmseg_isda.core` needs nothing but PyTorch.
"""

from importlib.util import find_spec
from warnings import warn

from .version import __version__

if find_spec('mmengine') is not None:
    from . import engine  # noqa: F401

    if find_spec('mmseg') is not None:
        try:
            from . import segmentation  # noqa: F401
        except (ImportError, AssertionError) as error:  # MMSegmentation asserts the version of MMCV.
            # Those who classify or detect shall not need one that works.
            warn(
                f'MMSegmentation is installed but cannot be imported, so ISDASegLoss is missing: {error}', stacklevel=2
            )

__all__ = ['__version__']
