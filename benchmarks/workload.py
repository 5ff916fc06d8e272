"""What the benchmarks of segmentation measure on: sizes, labels like those of a street scene, decode heads."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CLASSES_IN_AN_IMAGE = 16


class Size(NamedTuple):
    """A batch at a classifier: ``images`` feature maps of ``features`` x ``low`` x ``low``, labels ``high`` x ``high``.

    19 classes stand for the paper's Cityscapes crops, 97x97 -> 769x769; more for ADE20K's, 64x64 -> 512x512.
    """

    images: int
    classes: int
    features: int = 512

    @property
    def low(self) -> int:
        return 97 if self.classes == 19 else 64

    @property
    def high(self) -> int:
        return 769 if self.classes == 19 else 512

    @property
    def align_corners(self) -> bool:
        return self.classes == 19

    @classmethod
    def parse(cls, text: str) -> Size:
        """From e.g. ``N2C19`` or ``N2C19A2048``."""
        match = re.fullmatch(r'N(\d+)C(\d+)(?:A(\d+))?', text)
        if not match:
            raise ValueError(f'a size reads like N2C19 or N2C19A2048 (images, classes, features), got {text!r}')
        return cls(*(int(part) for part in match.groups() if part))

    def __str__(self) -> str:
        return f'N{self.images}C{self.classes}A{self.features}'


def device() -> str:
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def street_labels(images: int, classes: int, size: int) -> Tensor:
    """(N, size, size): blocks of one class, 16 classes an image, a tenth of the blocks ignored."""
    maps = []
    for _ in range(images):
        present = torch.randperm(classes)[:CLASSES_IN_AN_IMAGE]
        coarse = present[torch.randint(0, len(present), (1, 1, 24, 24))].float()
        coarse[torch.rand_like(coarse) < 0.1] = 255 if classes <= 255 else -1
        maps.append(F.interpolate(coarse, size=(size, size))[0, 0].long())
    return torch.stack(maps).to(device())


def ignore_index(classes: int) -> int:
    return 255 if classes <= 255 else -1
