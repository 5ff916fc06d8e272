"""The mathematics of ISDA in pure PyTorch: no toolkit is needed to use this package."""

from .cross_entropy import isda_cross_entropy, mean_shift
from .fused import fused_cross_entropy, should_fuse
from .labels import check_labels, mask_invalid_labels, resize_labels
from .low_rank import LowRankCovariance, low_rank_shift
from .shift import add_shift, logit_shift, whole_table
from .statistics import ClassCovariance

__all__ = [
    'ClassCovariance',
    'LowRankCovariance',
    'add_shift',
    'check_labels',
    'fused_cross_entropy',
    'isda_cross_entropy',
    'logit_shift',
    'low_rank_shift',
    'mask_invalid_labels',
    'mean_shift',
    'resize_labels',
    'should_fuse',
    'whole_table',
]
