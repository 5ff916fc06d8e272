"""What this project registers in MMSegmentation."""

from . import hints  # noqa: F401
from .datasets import CamVidDataset
from .heads import SlimASPPHead
from .losses import ISDASegLoss

__all__ = ['CamVidDataset', 'ISDASegLoss', 'SlimASPPHead']
