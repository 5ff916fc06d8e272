"""What ties an ISDA loss to a network that MMEngine trains; it knows no toolkit."""

from .fine_tuning import FineTuningHook
from .hook import ISDAHook, bind_isda_losses
from .loss import ISDALossBase
from .schedule import SCHEDULES, strength_at
from .subset import SubsetDataset
from .tap import ClassifierTap

__all__ = [
    'SCHEDULES',
    'ClassifierTap',
    'FineTuningHook',
    'ISDAHook',
    'ISDALossBase',
    'SubsetDataset',
    'bind_isda_losses',
    'strength_at',
]
