"""Semi-supervised classification: section 5 and Table 6 of the paper."""

from ...engine import semi  # noqa: F401  (registers the sampler, the branches and MeanTeacherHook)
from .classifier import SemiSupervisedClassifier
from .data import LabelSplitDataset, SemiSupervisedDataset
from .methods import MeanTeacher, PiModel, TemporalEnsembling, VirtualAdversarialTraining
from .zca import ZCADataset

__all__ = [
    'LabelSplitDataset',
    'MeanTeacher',
    'PiModel',
    'SemiSupervisedClassifier',
    'SemiSupervisedDataset',
    'TemporalEnsembling',
    'VirtualAdversarialTraining',
    'ZCADataset',
]
