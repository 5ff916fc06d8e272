"""A tiny data set in COCO's format, drawn from a seed: six kinds of objects with boxes and masks."""

from .dataset import count_objects, make_tiny_coco, run_lengths
from .objects import CATEGORIES
from .scene import Instance, render_crop, render_scene

__all__ = ['CATEGORIES', 'Instance', 'count_objects', 'make_tiny_coco', 'render_crop', 'render_scene', 'run_lengths']
