"""The methods that Table 5 of the paper compares ISDA with, as far as MMPretrain lacks them.

Label smoothing is MMPretrain's ``LabelSmoothLoss``. Its ``FocalLoss`` is that of detection, with a sigmoid a class.
"""

from .center_loss import CenterLossClsHead
from .distribution_net import DistributionNetClsHead
from .generated import GeneratedImagesPreprocessor
from .label_losses import DisturbLabelLoss, LqLoss, SoftmaxFocalLoss
from .large_margin import LargeMarginClsHead

__all__ = [
    'CenterLossClsHead',
    'DistributionNetClsHead',
    'DisturbLabelLoss',
    'GeneratedImagesPreprocessor',
    'LargeMarginClsHead',
    'LqLoss',
    'SoftmaxFocalLoss',
]
