"""Semi-supervised training in MMEngine: what classification and segmentation share. It knows no toolkit.

Names are those of MMDetection's semi-supervised code where the same thing is meant.
"""

from .branches import MultiBranch, MultiBranchDataPreprocessor
from .sampler import MultiSourceSampler
from .student import StudentMixin
from .teacher import MeanTeacherHook, batch_statistics_only
from .terms import RampUp, SemiTrainCfg, consistency_term

__all__ = [
    'MeanTeacherHook',
    'MultiBranch',
    'MultiBranchDataPreprocessor',
    'MultiSourceSampler',
    'RampUp',
    'SemiTrainCfg',
    'StudentMixin',
    'batch_statistics_only',
    'consistency_term',
]
