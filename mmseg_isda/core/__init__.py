"""The mathematics of ISDA in pure PyTorch: no toolkit is needed to use this package."""

from .consistency import isda_consistency
from .criterion import ISDACriterion
from .cross_entropy import isda_cross_entropy, mean_shift
from .fused import fused_cross_entropy, should_fuse
from .labels import check_labels, mask_invalid_labels, resize_labels
from .low_rank import LowRankCovariance, low_rank_shift, new_statistics
from .shift import add_shift, logit_shift, shift_of_vectors, shift_table
from .statistics import ClassCovariance
from .tap import ClassifierPass, ClassifierTap

__all__ = [
    'ClassCovariance',
    'ClassifierPass',
    'ClassifierTap',
    'ISDACriterion',
    'LowRankCovariance',
    'add_shift',
    'check_labels',
    'fused_cross_entropy',
    'isda_consistency',
    'isda_cross_entropy',
    'logit_shift',
    'low_rank_shift',
    'mask_invalid_labels',
    'mean_shift',
    'new_statistics',
    'resize_labels',
    'shift_of_vectors',
    'shift_table',
    'should_fuse',
]
