"""The methods that Table 5 of the paper compares ISDA with, as far as MMPretrain lacks them.

Label smoothing is MMPretrain's ``LabelSmoothLoss``. Its ``FocalLoss`` is that of detection, with a sigmoid a class.
"""

from .center_loss import CenterLossClsHead
from .distribution_net import DistributionNetClsHead
from .disturb_label import DisturbLabelLoss
from .focal_loss import SoftmaxFocalLoss
from .generated import GeneratedImagesPreprocessor
from .large_margin import LargeMarginClsHead
from .lq_loss import LqLoss

__all__ = [
    'CenterLossClsHead',
    'DistributionNetClsHead',
    'DisturbLabelLoss',
    'GeneratedImagesPreprocessor',
    'LargeMarginClsHead',
    'LqLoss',
    'SoftmaxFocalLoss',
]
