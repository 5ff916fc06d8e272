"""Checkpoints of ImageNet networks renamed for MMDetection, MMPretrain and MMSegmentation; no toolkit is needed."""

from .architectures import Architecture, detect_architecture
from .conversion import TARGETS, Conversion, convert_checkpoint, convert_weights

__all__ = ['TARGETS', 'Architecture', 'Conversion', 'convert_checkpoint', 'convert_weights', 'detect_architecture']
