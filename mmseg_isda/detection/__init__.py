"""What detectors need of this project: converted weights, hints about their files, a tiny data set to try them on.

ISDA pretrains the backbone and is gone when a detector is trained, so that nothing is registered in MMDetection.
"""

from ..engine.convert import Conversion, convert_checkpoint
from . import hints  # noqa: F401

__all__ = ['Conversion', 'convert_checkpoint']
