"""What this project registers in MMPretrain."""

from . import baselines, networks, semi  # noqa: F401
from .datasets import SVHN, HandwrittenDigits, SmallImageDataset
from .explicit import ExplicitSDALoss
from .losses import ISDALoss
from .meters import LastEpochsMean
from .transforms import CIFARAutoAugment, ClippedCutout, PillowRandAugment, ReflectCrop

__all__ = [
    'SVHN',
    'CIFARAutoAugment',
    'ClippedCutout',
    'ExplicitSDALoss',
    'HandwrittenDigits',
    'ISDALoss',
    'LastEpochsMean',
    'PillowRandAugment',
    'ReflectCrop',
    'SmallImageDataset',
]
