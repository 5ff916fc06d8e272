"""What binds an ISDA loss to a network that MMEngine trains; it knows no toolkit."""

from ..core import ClassifierTap
from .binding import bind_isda_losses
from .hook import ISDAHook
from .loss import ISDALossBase
from .schedule import SCHEDULES, strength_at

__all__ = ['SCHEDULES', 'ClassifierTap', 'ISDAHook', 'ISDALossBase', 'bind_isda_losses', 'strength_at']
