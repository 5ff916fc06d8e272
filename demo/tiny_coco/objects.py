"""The six kinds of objects, each a stack of polygons in a unit square with y downwards; shape alone tells the kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

CATEGORIES = ('balloon', 'boat', 'fish', 'house', 'mushroom', 'star')
Rng = np.random.Generator


class Part(NamedTuple):
    """A filled polygon.

    Attributes:
        points: (N, 2) corners in [-0.5, 0.5].
        role: which of the object's colours fills it: ``'main'``, ``'second'``, ``'light'`` or ``'dark'``.
    """

    points: np.ndarray
    role: str


def object_parts(category: str, rng: Rng) -> list[Part]:
    """The parts of one object, the lowest first, with its proportions drawn at random.

    Raises:
        ValueError: if there is no such category.
    """
    if category not in _MAKERS:
        raise ValueError(f'category must be one of {", ".join(CATEGORIES)}, got {category!r}')
    return _MAKERS[category](rng)


def _polygon(role: str, corners: Sequence[tuple[float, float]]) -> Part:
    return Part(np.array(corners, float), role)


def _ellipse(role: str, x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Part:
    angle = np.deg2rad(np.linspace(start, end, 41))
    return Part(np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1), role)


def _rectangle(role: str, left: float, top: float, right: float, bottom: float) -> Part:
    return _polygon(role, [(left, top), (right, top), (right, bottom), (left, bottom)])


def _balloon(rng: Rng) -> list[Part]:
    width, basket = rng.uniform(0.34, 0.40), rng.uniform(0.07, 0.1)
    parts = [
        _polygon('dark', [(-0.2, 0.05), (-0.18, 0.05), (-basket + 0.02, 0.37), (-basket, 0.37)]),
        _polygon('dark', [(0.2, 0.05), (0.18, 0.05), (basket - 0.02, 0.37), (basket, 0.37)]),
        _rectangle('dark', -basket, 0.35, basket, 0.49),
        _polygon('main', [(-width * 0.86, -0.02), (width * 0.86, -0.02), (0.09, 0.27), (-0.09, 0.27)]),
        _ellipse('main', 0, -0.15, width, 0.34),
    ]
    gore = width * rng.uniform(0.3, 0.42)
    return [*parts, _ellipse('second', 0, -0.15, gore, 0.34), _polygon('second', [
        (-gore, -0.1), (gore, -0.1), (0.04, 0.27), (-0.04, 0.27)
    ])]  # fmt: skip


def _boat(rng: Rng) -> list[Part]:
    mast = rng.uniform(-0.06, 0.06)
    return [
        _rectangle('dark', mast - 0.015, -0.48, mast + 0.015, 0.2),
        _polygon('light', [(mast + 0.03, -0.46), (mast + 0.03, 0.13), (0.42, 0.13)]),
        _polygon('second', [(mast - 0.03, -0.36), (mast - 0.03, 0.13), (-0.36, 0.13)]),
        _polygon('main', [(-0.48, 0.19), (0.48, 0.19), (0.32, 0.42), (-0.34, 0.42)]),
        _polygon('dark', [(-0.48, 0.19), (0.48, 0.19), (0.465, 0.215), (-0.47, 0.215)]),
    ]


def _fish(rng: Rng) -> list[Part]:
    height, tail = rng.uniform(0.2, 0.27), rng.uniform(0.17, 0.24)
    return [
        _polygon('second', [(-0.16, 0), (-0.48, -tail), (-0.4, 0), (-0.48, tail)]),
        _polygon('second', [(-0.1, -height * 0.8), (0.05, -height - 0.13), (0.2, -height * 0.75)]),
        _ellipse('main', 0.11, 0, 0.37, height),
        _ellipse('light', 0.31, -height * 0.25, 0.055, 0.055),
        _ellipse('dark', 0.32, -height * 0.25, 0.027, 0.027),
        _polygon('second', [(-0.05, 0.02), (0.11, -0.06), (0.11, 0.1)]),
    ]


def _house(rng: Rng) -> list[Part]:
    width, eaves, door = rng.uniform(0.32, 0.4), rng.uniform(-0.12, -0.04), rng.uniform(-0.2, 0.2)
    parts = [
        _rectangle('dark', 0.14, -0.44, 0.24, -0.15),
        _rectangle('main', -width, eaves, width, 0.48),
        _polygon('second', [(-width - 0.08, eaves + 0.02), (0, -0.48), (width + 0.08, eaves + 0.02)]),
        _rectangle('dark', door - 0.07, 0.16, door + 0.07, 0.48),
    ]
    sides = [x for x in (-0.2, 0.2) if abs(x - door) > 0.16]
    return parts + [_rectangle('light', x - 0.07, 0.06, x + 0.07, 0.2) for x in sides]


def _mushroom(rng: Rng) -> list[Part]:
    stem, brim = rng.uniform(0.09, 0.14), rng.uniform(0.0, 0.06)
    parts = [
        _polygon('light', [(-stem, brim - 0.02), (stem, brim - 0.02), (stem * 1.35, 0.47), (-stem * 1.35, 0.47)]),
        _ellipse('main', 0, brim, 0.46, 0.44, 180, 360),
    ]
    spots = [(-0.24, -0.12, 0.07), (0.02, -0.25, 0.085), (0.25, -0.1, 0.065), (-0.02, -0.06, 0.05)]
    return parts + [_ellipse('second', x, brim + y, r, r) for x, y, r in spots]


def _star(rng: Rng) -> list[Part]:
    inner, points = rng.uniform(0.2, 0.25), 5
    angle = np.arange(2 * points) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.5, inner)
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return [Part(corners, 'main'), Part(corners * rng.uniform(0.5, 0.62), 'second')]


_MAKERS: dict[str, Callable[[Rng], list[Part]]] = {
    'balloon': _balloon,
    'boat': _boat,
    'fish': _fish,
    'house': _house,
    'mushroom': _mushroom,
    'star': _star,
}
