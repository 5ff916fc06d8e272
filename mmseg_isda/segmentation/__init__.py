"""What this project registers in MMSegmentation."""

from .datasets import CamVidDataset
from .heads import SlimASPPHead
from .losses import ISDASegLoss

__all__ = ['CamVidDataset', 'ISDASegLoss', 'SlimASPPHead']
