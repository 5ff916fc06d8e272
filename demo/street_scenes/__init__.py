"""Synthetic street scenes in Cityscapes' layout and label ids."""

from .dataset import class_frequencies, make_dataset
from .labels import CLASSES
from .scene import render_scene

__all__ = ['CLASSES', 'class_frequencies', 'make_dataset', 'render_scene']
