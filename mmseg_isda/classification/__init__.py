"""What this project registers in MMPretrain."""

from . import baselines, networks  # noqa: F401
from .datasets import HandwrittenDigits, SmallImageDataset
from .explicit import ExplicitSDALoss
from .holdout import HoldOutDataset
from .losses import ISDALoss
from .meters import LastEpochsMean
from .transforms import CIFARAutoAugment, ClippedCutout, PillowRandAugment, ReflectCrop

__all__ = [
    'CIFARAutoAugment',
    'ClippedCutout',
    'ExplicitSDALoss',
    'HandwrittenDigits',
    'HoldOutDataset',
    'ISDALoss',
    'LastEpochsMean',
    'PillowRandAugment',
    'ReflectCrop',
    'SmallImageDataset',
]
