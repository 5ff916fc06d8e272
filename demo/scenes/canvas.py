"""A camera that looks along a street, and a canvas that paints colors and objects together.

World coordinates (x, y, z) are in meters: x to the right, y up from the road, z ahead of the camera. An object paints
itself in coordinates of its own, (u, v, y): u ahead, v to its right, y up; a :class:`Frame` places it in the world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .classes import CLASSES, IGNORED
from .light import Color, Light

NEAR = 1.0  # meters; what is closer is moved there
SUBPIXEL = 3  # fractional bits of cv2's coordinates
CAPACITY = 256  # objects that one byte can number
TEXTURES = {'vegetation': 0.2, 'terrain': 0.14, 'building': 0.05, 'wall': 0.09, 'sidewalk': 0.05, 'road': 0.05}
Span = tuple[float, float]
# Corners of a box, back or front by left or right, below and then above; its faces as they are seen from outside, each
# from bottom left to bottom right, top right and top left.
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_FACES = {
    'back': (0, 1, 5, 4), 'front': (3, 2, 6, 7), 'right': (1, 3, 7, 5), 'left': (2, 0, 4, 6), 'top': (4, 5, 7, 6)
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Where an object stands and where it heads, in radians clockwise from the view along the street."""

    x: float
    z: float
    heading: float = 0.0
    scale: float = 1.0

    def world(self, points: np.ndarray | Sequence[float]) -> np.ndarray:
        """Map local (..., 3) points to the world."""
        sin, cos = self.scale * math.sin(self.heading), self.scale * math.cos(self.heading)
        return np.asarray(points, float) @ [(sin, 0, cos), (cos, 0, -sin), (0, self.scale, 0)] + (self.x, 0, self.z)


@dataclass(frozen=True)
class Camera:
    """Size of the image and focal length in pixels, vanishing point (cx, horizon), height of the eye in meters."""

    height: int
    width: int
    focal: float
    cx: float
    horizon: float
    eye: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Map world points (..., 3) to pixels (..., 2)."""
        scale = self.focal / np.maximum(points[..., 2:], NEAR)
        return (points[..., :2] - (0, self.eye)) * (1, -1) * scale + (self.cx, self.horizon)


class Canvas:
    """Pixels (H, W, 4) of uint8: blue, green, red, and the number of the object that is seen."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.pixels = np.zeros((camera.height, camera.width, 4), np.uint8)
        self.classes, self.textures = [CLASSES.index('sky')], [0.0]

    def new(self, name: str | None, *, texture: float | None = None) -> int:
        """Return the number of a new object.

        Args:
            name: its class; None is ignored in training and scoring.
            texture: strength of the noise on its surface; by default that of the class.
        """
        if len(self.classes) == CAPACITY:
            raise RuntimeError(f'a scene can hold {CAPACITY} objects')
        self.classes.append(IGNORED if name is None else CLASSES.index(name))
        self.textures.append(TEXTURES.get(name, 0.0) if texture is None else texture)
        return len(self.classes) - 1

    def fill(self, polygons: np.ndarray, color: Color, number: int) -> None:
        """Fill polygons (N, K, 2), in pixels, that do not overlap."""
        corners = np.round(np.clip(polygons, -8e3, 1.6e4) * (1 << SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(self.pixels, list(corners), (*color, number), shift=SUBPIXEL)

    def ground(self, x: Span, z: Span, color: Color, number: int) -> None:
        """Fill a rectangle of the road's plane."""
        corners = [(x[0], 0, z[0]), (x[0], 0, z[1]), (x[1], 0, z[1]), (x[1], 0, z[0])]
        self.fill(self.camera.project(np.array([corners], float)), self.light.lit(color, np.mean(z)), number)

    def flat(self, polygons: np.ndarray, color: Color, number: int, *, shade: float = 1.0) -> None:
        """Fill polygons (N, K, 3) of the world that do not overlap."""
        depth = float(np.mean(polygons[..., 2]))
        self.fill(self.camera.project(polygons), self.light.lit(color, depth, shade), number)

    def solid(
        self, frame: Frame, u: Span, v: Span, y: Span, color: Color, number: int, *, taper=(0.0, 0.0, 0.0)
    ) -> dict[str, np.ndarray]:
        """Paint a box, whose top may be shorter at the back and at the front and narrower on both sides.

        Args:
            frame: where it stands.
            u: from the back to the front, in meters.
            v: from the left to the right.
            y: from the bottom to the top.
            color: of a face in full light.
            number: of the object.
            taper: how much shorter the top is at the back, at the front, and on each side.

        Returns:
            The faces that are seen, each (4, 3): bottom left, bottom right, top right, top left.
        """
        back, front, side = taper
        low = np.array([(u[i], v[j], y[0]) for i, j in _CORNERS])
        top = np.array([(u[i] + (back, -front)[i], v[j] + (side, -side)[j], y[1]) for i, j in _CORNERS])
        faces = frame.world(np.concatenate([low, top])[list(_FACES.values())])
        normals = np.cross(faces[:, 3] - faces[:, 0], faces[:, 1] - faces[:, 0])
        seen = np.einsum('nk,nk->n', normals, faces.mean(1) - (0, self.camera.eye, 0)) < 0
        for face, normal in zip(faces[seen], normals[seen], strict=True):
            self.flat(face[None], color, number, shade=self.light.shade(normal))
        return {name: face for name, face, is_seen in zip(_FACES, faces, seen, strict=True) if is_seen}

    def panes(self, face: np.ndarray, s: np.ndarray, t: np.ndarray, color: Color, number: int) -> None:
        """Paint a grid of panes on a face: ``s`` (M, 2) from its left to its right, ``t`` (N, 2) from bottom to top."""
        s, t = np.atleast_2d(s), np.atleast_2d(t)
        across = np.tile(s[:, [0, 1, 1, 0]], (len(t), 1))[..., None]
        up = np.repeat(t[:, [0, 0, 1, 1]], len(s), axis=0)[..., None]
        low, high = face[0] + across * (face[1] - face[0]), face[3] + across * (face[2] - face[3])
        self.flat(low + up * (high - low), color, number, shade=0.95)

    def limb(self, frame: Frame, start: Sequence, end: Sequence, radius: float, color: Color, number: int) -> None:
        """Paint a rod with round ends between two local points; at least one pixel thick."""
        points = frame.world([start, end])
        depth = max(float(points[:, 2].mean()), NEAR)
        (x0, y0), (x1, y1) = np.round(self.camera.project(points) * (1 << SUBPIXEL)).astype(int).tolist()
        thick = max(1, round(2 * radius * frame.scale * self.camera.focal / depth))
        color = (*self.light.lit(color, depth), number)
        cv2.line(self.pixels, (x0, y0), (x1, y1), color, min(thick, 255), cv2.LINE_8, SUBPIXEL)

    def ball(self, frame: Frame, center: Sequence, radius: float, color: Color, number: int, *, squash=1.0) -> None:
        """Paint a ball around a local point, ``squash`` times as high as wide."""
        point = frame.world(center)
        size = radius * frame.scale * self.camera.focal / max(float(point[2]), NEAR) * (1 << SUBPIXEL)
        place = np.round(self.camera.project(point) * (1 << SUBPIXEL)).astype(int).tolist()
        axes, color = (max(4, round(size)), max(4, round(size * squash))), (*self.light.lit(color, point[2]), number)
        cv2.ellipse(self.pixels, place, axes, 0, 0, 360, color, -1, cv2.LINE_8, SUBPIXEL)

    def ring(self, frame: Frame, center: Sequence, radius: float, width: float, color: Color, number: int) -> None:
        """Paint a ring that stands upright along the object; filled if ``width`` reaches the radius."""
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        circle = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1) * radius + center
        points = frame.world(circle)
        if width >= radius:
            return self.flat(points[None], color, number)
        depth = float(points[:, 2].mean())
        corners = np.round(self.camera.project(points) * (1 << SUBPIXEL)).astype(np.int32)
        thick = max(1, round(width * frame.scale * self.camera.focal / max(depth, NEAR)))
        color = (*self.light.lit(color, depth), number)
        return cv2.polylines(self.pixels, [corners], True, color, thick, cv2.LINE_8, SUBPIXEL)


def among(seen: Mapping[str, np.ndarray], *names: str) -> list[np.ndarray]:
    """Return those of the named faces that are seen."""
    return [seen[name] for name in names if name in seen]


def cells(number: int, share: float = 0.6) -> np.ndarray:
    """Divide [0, 1] into ``number`` equal cells and return the middle ``share`` of each, (number, 2)."""
    middle = (np.arange(number) + 0.5) / number
    return np.stack([middle - share / 2 / number, middle + share / 2 / number], -1)
