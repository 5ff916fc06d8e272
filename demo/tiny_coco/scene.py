"""One picture from one seed: a ground, clutter that is nothing, and objects with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .objects import CATEGORIES, Rng, object_parts

OVERSAMPLING = 3  # the canvas is this much finer than the picture
LEAST_SIDE = 32
LEAST_VISIBLE = 0.6  # share of an object that later ones must leave
PLACEMENTS = 30


@dataclass(frozen=True)
class Instance:
    """What is seen of an object: its category's number and its mask (H, W) of bool."""

    category: int
    mask: np.ndarray


def render_scene(seed: int, height: int = 160, width: int = 224) -> tuple[np.ndarray, list[Instance]]:
    """Paints two to six objects, which may cover one another in part.

    Args:
        seed: any integer from 0; the same seed always gives the same picture.
        height: rows in pixels, at least 32.
        width: columns in pixels, at least 32.

    Returns:
        The picture (H, W, 3) uint8 in BGR, and its objects.

    Raises:
        ValueError: if the picture would be too small.
    """
    if min(height, width) < LEAST_SIDE:
        raise ValueError(f'height and width must be at least {LEAST_SIDE}, got {height} and {width}')
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = _ground(rng, height * OVERSAMPLING, width * OVERSAMPLING)
    side = min(height, width)
    masks: list[np.ndarray] = []
    areas: list[int] = []
    kinds: list[int] = []
    for _ in range(int(rng.integers(2, 7))):
        kind = int(rng.integers(len(CATEGORIES)))
        mask = _place(canvas, rng, kind, side * rng.uniform(0.2, 0.5), list(zip(masks, areas, strict=True)))
        if mask is not None:
            masks = [other & ~mask for other in masks] + [mask]
            areas.append(int(mask.sum()))
            kinds.append(kind)
    image = _expose(canvas, rng, (height, width))
    return image, [Instance(kind, _shrunk(mask, height, width)) for kind, mask in zip(kinds, masks, strict=True)]


def render_crop(seed: int, category: int, size: int = 64) -> np.ndarray:
    """Paints one object on a square (size, size, 3) uint8 in BGR, as a classifier sees it.

    Args:
        seed: any integer from 0.
        category: its number in ``CATEGORIES``.
        size: side in pixels.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = _ground(rng, size * OVERSAMPLING, size * OVERSAMPLING)
    _place(canvas, rng, category, size * rng.uniform(0.45, 0.95), [])
    return _expose(canvas, rng, (size, size))


# --- ground ----------------------------------------------------------------------------------------------------------


def _colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> tuple[float, float, float]:
    hsv = np.array([[[rng.integers(180), 255 * rng.uniform(*saturation), 255 * rng.uniform(*value)]]], np.uint8)
    return tuple(float(channel) for channel in cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0])


def _ground(rng: Rng, height: int, width: int) -> np.ndarray:
    """A soft gradient, in part with a hill or stripes, and faint shapes that belong to no category."""
    top, bottom = (np.array(_colour(rng, (0.08, 0.4), (0.5, 0.95))) for _ in range(2))
    slope = np.linspace(0, 1, height)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to(top * (1 - slope) + bottom * slope, (height, width, 3)), np.uint8)
    style = rng.integers(3)
    if style == 0:
        x = np.arange(width + 1)
        waves = np.sin(x / width * rng.uniform(4, 9) + rng.uniform(0, 6)) * height * 0.06
        hill = np.stack([x, waves + height * rng.uniform(0.45, 0.7)], 1)
        corners = np.concatenate([hill, [(width, height), (0, height)]]).astype(np.int32)
        cv2.fillPoly(canvas, [corners], _colour(rng, (0.15, 0.5), (0.35, 0.75)))
    elif style == 1:
        step, lean = int(height * rng.uniform(0.12, 0.25)), int(height * rng.uniform(-0.8, 0.8))
        for x in range(-height, width + height, 2 * step):
            cv2.line(canvas, (x, 0), (x + lean, height), (bottom * 0.94).tolist(), max(1, step // 2), cv2.LINE_AA)
    for _ in range(int(rng.integers(3, 9))):
        _clutter(canvas, rng)
    return canvas


def _clutter(canvas: np.ndarray, rng: Rng) -> None:
    height, width = canvas.shape[:2]
    x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    size, colour = height * rng.uniform(0.03, 0.16), _colour(rng, (0.1, 0.6), (0.4, 0.9))
    if rng.random() < 0.4:
        axes = (max(2, int(size)), max(2, int(size * rng.uniform(0.4, 1))))
        cv2.ellipse(canvas, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    elif rng.random() < 0.6:
        corners = np.array([x, y]) + rng.uniform(-size, size, (int(rng.integers(3, 5)), 2))
        cv2.fillPoly(canvas, [cv2.convexHull(corners.astype(np.int32))], colour, cv2.LINE_AA)
    else:
        end = (np.array([x, y]) + rng.uniform(-3 * size, 3 * size, 2)).astype(int).tolist()
        cv2.line(canvas, (x, y), end, colour, max(1, int(size * 0.2)), cv2.LINE_AA)


# --- objects ---------------------------------------------------------------------------------------------------------


def _place(
    canvas: np.ndarray, rng: Rng, kind: int, side: float, others: Sequence[tuple[np.ndarray, int]]
) -> np.ndarray | None:
    """Draws an object where enough stays visible of the others, given by what is seen of each and its whole area.

    Returns its mask at the canvas's size, or None if there is no room for it.
    """
    height, width = canvas.shape[:2]
    parts = object_parts(CATEGORIES[kind], rng)
    turn = np.deg2rad(rng.uniform(-25, 25))
    mirror = -1 if rng.random() < 0.5 else 1
    stretch = rng.uniform(0.85, 1.15)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.diag([mirror * stretch, 1 / stretch]) * side * OVERSAMPLING
    shapes = [part.points @ matrix.T for part in parts]
    extent = np.abs(np.concatenate(shapes)).max(0)
    colours = _palette(rng)
    for _ in range(PLACEMENTS):
        room = np.maximum(np.array([width, height]) / 2 - extent - OVERSAMPLING, 0)
        centre = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * room
        corners = [np.round((shape + centre) * 8).astype(np.int32) for shape in shapes]
        mask = np.zeros((height, width), np.uint8)
        for points in corners:
            cv2.fillPoly(mask, [points], 1, shift=3)
        mask = mask.astype(bool)
        if all((seen & ~mask).sum() >= LEAST_VISIBLE * area for seen, area in others):
            for points, part in zip(corners, parts, strict=True):
                cv2.fillPoly(canvas, [points], colours[part.role], cv2.LINE_AA, shift=3)
                cv2.polylines(canvas, [points], True, colours['edge'], OVERSAMPLING - 1, cv2.LINE_AA, shift=3)
            return mask
    return None


def _palette(rng: Rng) -> dict[str, tuple[float, float, float]]:
    main = _colour(rng, (0.55, 1.0), (0.6, 1.0))
    return {
        'main': main,
        'second': _colour(rng, (0.3, 0.95), (0.6, 1.0)),
        'light': _colour(rng, (0.0, 0.2), (0.85, 1.0)),
        'dark': _colour(rng, (0.2, 0.6), (0.15, 0.4)),
        'edge': tuple(0.45 * channel for channel in main),
    }


def _expose(canvas: np.ndarray, rng: Rng, size: tuple[int, int]) -> np.ndarray:
    """The canvas at the picture's size, with light from one side and a camera's noise."""
    height, width = size
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    light = 1 + rng.uniform(-0.15, 0.15) * across + rng.uniform(-0.15, 0.15) * down
    noise = rng.normal(0, rng.uniform(2, 6), image.shape)
    return np.clip(image * light * rng.uniform(0.85, 1.1) + noise, 0, 255).astype(np.uint8)


def _shrunk(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A pixel belongs to an object if at least half of it does."""
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) >= 0.5
