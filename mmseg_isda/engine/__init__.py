"""What binds an ISDA loss to a network that MMEngine trains; it knows no toolkit."""

from ..core import ClassifierTap
from .binding import bind_isda_losses
from .fine_tuning import FineTuningHook
from .hook import ISDAHook
from .loss import ISDALossBase
from .schedule import SCHEDULES, strength_at
from .subset import SubsetDataset

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
