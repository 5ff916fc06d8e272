"""Small draws from a generator and arithmetic on BGR colours; plain floats, as numpy is slow on three numbers."""

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np

Colour = tuple[float, float, float]
Rng = np.random.Generator
T = TypeVar('T')


def between(rng: Rng, low: float, high: float) -> float:
    """A uniform number in [low, high)."""
    return low + (high - low) * rng.random()


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def happens(rng: Rng, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made lighter (factor > 1) or darker."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """(1 - share) of the first colour and share of the second."""
    keep = 1.0 - share
    return (
        first[0] * keep + second[0] * share,
        first[1] * keep + second[1] * share,
        first[2] * keep + second[2] * share,
    )


def varied(rng: Rng, colour: Colour, amount: float) -> Colour:
    """The colour with brightness (by +-amount) and hue (by half of it) changed at random."""
    level = 1.0 + between(rng, -amount, amount)
    b, g, r = (c * (level + between(rng, -amount, amount) * 0.5) for c in colour)
    return min(max(b, 0.0), 255.0), min(max(g, 0.0), 255.0), min(max(r, 0.0), 255.0)


def smooth_noise(rng: Rng, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Noise of several octaves in about [-1, 1], (height, width) float32; the coarsest grains have `cell` pixels."""
    total = np.zeros((height, width), np.float32)
    weight, norm = 1.0, 0.0
    for _ in range(octaves):
        shape = (max(2, round(height / cell)), max(2, round(width / cell)))
        grains = rng.random(shape, dtype=np.float32) * 2 - 1
        total += weight * cv2.resize(grains, (width, height), interpolation=cv2.INTER_LINEAR)
        norm += weight
        weight, cell = weight * 0.6, cell / 2.2
    return total * (1.6 / norm)
