"""What this project registers in MMSegmentation."""

from .datasets import CamVidDataset
from .focal import SoftmaxFocalLoss
from .fused_heads import FusedLossMixin
from .heads import SlimASPPHead
from .losses import FusedCrossEntropyLoss, ISDASegLoss
from .semi import MeanTeacherSegmentor

__all__ = [
    'CamVidDataset',
    'FusedCrossEntropyLoss',
    'FusedLossMixin',
    'ISDASegLoss',
    'MeanTeacherSegmentor',
    'SlimASPPHead',
    'SoftmaxFocalLoss',
]
