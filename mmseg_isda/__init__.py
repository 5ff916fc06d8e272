"""Implicit semantic data augmentation (ISDA, T-PAMI 2021) in plain PyTorch and for the OpenMMLab toolkits.

- :class:`mmseg_isda.core.ISDACriterion`: ISDA in any PyTorch program; :mod:`mmseg_isda.core` needs PyTorch alone.
- ``ISDASegLoss``, ``FusedCrossEntropyLoss``: losses for MMSegmentation, in :mod:`mmseg_isda.segmentation`.
- ``ISDALoss``: the loss for MMPretrain, in :mod:`mmseg_isda.classification`.
- ``ISDAHook``: binds the losses to their classifiers and sets lambda, in :mod:`mmseg_isda.engine`.
- :mod:`mmseg_isda.detection`: weights pretrained with ISDA for MMDetection.

Importing this package registers ``ISDAHook`` in MMEngine and the rest in MMSegmentation, at once where those are
imported already, and otherwise as soon as they are.
"""

from ._registration import register_on_import
from .version import __version__

register_on_import('mmseg_isda.engine', hosts=('mmengine.hooks', 'mmengine.runner'))
register_on_import('mmseg_isda.segmentation', hosts=('mmseg.models', 'mmseg.datasets'))

__all__ = ['__version__']
