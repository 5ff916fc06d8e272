"""Drawn street scenes with the truth for segmentation (Cityscapes' layout), detection (COCO) and classification."""

from .classes import CLASSES, IGNORED, THINGS
from .dataset import make_scenes
from .scene import Scene, render_scene

__all__ = ['CLASSES', 'IGNORED', 'THINGS', 'Scene', 'make_scenes', 'render_scene']
