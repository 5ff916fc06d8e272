"""Checkpoints of ImageNet networks renamed for MMDetection, MMPretrain and MMSegmentation; no toolkit is needed."""

from .conversion import TARGETS, Conversion, convert_checkpoint, convert_weights

__all__ = ['TARGETS', 'Conversion', 'convert_checkpoint', 'convert_weights']
