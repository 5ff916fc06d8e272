"""What detectors need of this project: weights pretrained with ISDA, converted.

ISDA pretrains the backbone and is gone when a detector is trained, so that nothing is registered in MMDetection.
"""

from ..checkpoints.convert import Conversion, convert_checkpoint

__all__ = ['Conversion', 'convert_checkpoint']
