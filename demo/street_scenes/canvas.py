"""A pinhole camera that looks along the street, and a canvas that paints colour and label together.

World frame in metres: x to the right, y up from the road, z ahead of the camera. All box faces are parallel to the
axes or nearly so, which gives one vanishing point at (camera.cx, camera.horizon).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .chance import Colour, Rng, smooth_noise
from .labels import SKY

Point = tuple[float, float, float]
NEAR = 0.8  # metres: nothing closer is drawn
_BITS = 3  # sub-pixel bits of cv2's polygon corners


@dataclass(frozen=True)
class Camera:
    """Focal length and vanishing point in pixels, height of the eye in metres."""

    width: int
    height: int
    focal: float
    cx: float
    horizon: float
    eye: float

    def project(self, point: Point) -> tuple[float, float]:
        """The pixel of a world point with z >= NEAR."""
        scale = self.focal / point[2]
        return self.cx + scale * point[0], self.horizon + scale * (self.eye - point[1])


def clip_near(points: Sequence[Point], near: float = NEAR) -> list[Point]:
    """The part of a polygon that lies ahead of the plane z = near (Sutherland-Hodgman)."""
    if all(p[2] >= near for p in points):
        return list(points)
    kept: list[Point] = []
    for p, q in zip(points, [*points[1:], points[0]], strict=True):
        if p[2] >= near:
            kept.append(p)
        if (p[2] >= near) != (q[2] >= near):
            t = (near - p[2]) / (q[2] - p[2])
            kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1]), near))
    return kept


class Canvas:
    """Pixels (H, W, 4) uint8: blue, green, red and the number of the surface that is seen.

    One draw call so writes colour and surface; a surface has a raw label and a plane of inverse depth,
    1/z = a * column + b * row + c, which is exact for planes and is what haze and ground texture are made from.
    """

    def __init__(self, camera: Camera, detail: float) -> None:
        self.camera = camera
        self.detail = detail  # pixels here per pixel of a 256-row canvas: scales the textures
        self.pixels = np.zeros((camera.height, camera.width, 4), np.uint8)
        self._plate: np.ndarray | None = None
        self.labels = [SKY]
        self.planes = [(0.0, 0.0, 0.0)]
        self.is_ground = [False]
        self.view = max(camera.cx, camera.width - camera.cx) / camera.focal  # largest |x| / z that is seen

    def surface(self, label: int, z: float | None = None, *, side: float | None = None) -> int:
        """A new surface: upright at depth z, or along the street at x = side, or the ground (neither given)."""
        cam = self.camera
        if z is not None:
            plane = (0.0, 0.0, 1.0 / max(z, NEAR))
        elif side is not None:
            plane = (1 / (cam.focal * side), 0.0, -cam.cx / (cam.focal * side))
        else:
            plane = (0.0, 1 / (cam.focal * cam.eye), -cam.horizon / (cam.focal * cam.eye))
        if len(self.labels) == 256:  # the channel is full: reuse the surface of this label that is nearest in depth
            same = [i for i, known in enumerate(self.labels) if known == label] or [len(self.labels) - 1]
            return min(same, key=lambda i: sum(abs(p - q) for p, q in zip(self.planes[i], plane, strict=True)))
        self.labels.append(label)
        self.planes.append(plane)
        self.is_ground.append(z is None and side is None)
        return len(self.labels) - 1

    def shape(self, corners: Sequence[tuple[float, float]], colour: Colour, surface: int) -> None:
        """Fill a polygon given in pixels."""
        if len(corners) > 2:
            fixed = np.array([[int(x * 8), int(y * 8)] for x, y in corners], np.int32)
            cv2.fillPoly(self.pixels, [fixed], (*colour, surface), shift=_BITS)

    def face(self, points: Sequence[Point], colour: Colour, surface: int) -> None:
        """Fill a polygon given in the world."""
        project = self.camera.project
        self.shape([project(p) for p in clip_near(points)], colour, surface)

    def frontal(self, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour, surface: int) -> None:
        """Fill a rectangle that faces the camera."""
        self.face([(x[0], y[0], z), (x[0], y[1], z), (x[1], y[1], z), (x[1], y[0], z)], colour, surface)

    def lateral(self, x: float, y: tuple[float, float], z: tuple[float, float], colour: Colour, surface: int) -> None:
        """Fill an upright rectangle along the street."""
        self.face([(x, y[0], z[0]), (x, y[0], z[1]), (x, y[1], z[1]), (x, y[1], z[0])], colour, surface)

    def line(self, start: Point, end: Point, width: float, colour: Colour, surface: int, least: float = 1.0) -> None:
        """A line of a width in metres, at least `least` pixels thick."""
        if min(start[2], end[2]) < NEAR:
            return
        thick = max(least * self.detail, width * self.camera.focal / (0.5 * (start[2] + end[2])))
        (x0, y0), (x1, y1) = self.camera.project(start), self.camera.project(end)
        cv2.line(
            self.pixels,
            (round(x0 * 8), round(y0 * 8)),
            (round(x1 * 8), round(y1 * 8)),
            (*colour, surface),
            max(1, round(thick)),
            cv2.LINE_8,
            _BITS,
        )

    def disc(self, centre: Point, radius: float, colour: Colour, surface: int, stretch: float = 1.0) -> None:
        """A disc that faces the camera, radius in metres, `stretch` times as high as wide."""
        if centre[2] < NEAR:
            return
        x, y = self.camera.project(centre)
        r = radius * self.camera.focal / centre[2] * 8
        cv2.ellipse(
            self.pixels,
            (round(x * 8), round(y * 8)),
            (max(4, round(r)), max(4, round(r * stretch))),
            0,
            0,
            360,
            (*colour, surface),
            -1,
            cv2.LINE_8,
            _BITS,
        )

    def noise(self, rng: Rng, rows: int, columns: int) -> np.ndarray:
        """A random part of the scene's plate of smooth noise, (rows, columns) float32: cheaper than new noise."""
        size = round(420 * self.detail)
        if self._plate is None:
            self._plate = smooth_noise(rng, size, size, 30, 3)
        if rows > size or columns > size:
            return cv2.resize(self._plate, (columns, rows))
        y, x = int(rng.random() * (size - rows)), int(rng.random() * (size - columns))
        return self._plate[y : y + rows, x : x + columns]

    def _window(self, corners: np.ndarray) -> tuple[int, int, int, int] | None:
        low, high = np.floor(corners.min(0)) - 1, np.ceil(corners.max(0)) + 2
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(self.camera.width, int(high[0])), min(self.camera.height, int(high[1]))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _mask(self, corners: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        mask = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
        cv2.fillPoly(mask, [np.rint((corners - box[:2]) * 8).astype(np.int32)], 1, shift=_BITS)
        return mask

    def textured(self, quad: Sequence[Point], texture: np.ndarray, surface: int) -> None:
        """Map a BGR texture onto a quad: corners top-left, top-right, bottom-right, bottom-left, all ahead of NEAR."""
        corners = np.array([self.camera.project(p) for p in quad], np.float32)
        box = self._window(corners)
        if box is None:
            return
        h, w = texture.shape[:2]
        source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
        warp = cv2.getPerspectiveTransform(source, corners - np.float32(box[:2]))
        seen = cv2.warpPerspective(texture, warp, (box[2] - box[0], box[3] - box[1]), borderMode=cv2.BORDER_REPLICATE)
        self._paste(seen, self._mask(corners, box), box, surface)

    def tint(self, points: Sequence[Point], colour: Colour, share: float, surface: int) -> None:
        """Lay a see-through colour over a polygon; the whole of it takes the surface, as in Cityscapes' fences."""
        clipped = clip_near(points)
        if len(clipped) < 3:
            return
        corners = np.array([self.camera.project(p) for p in clipped], np.float32)
        box = self._window(corners)
        if box is not None:
            under = self.pixels[box[1] : box[3], box[0] : box[2], :3]
            over = cv2.addWeighted(under, 1 - share, np.full_like(under, np.clip(colour, 0, 255)), share, 0)
            self._paste(over, self._mask(corners, box), box, surface)

    def sprite(
        self, picture: np.ndarray, mask: np.ndarray, centre: Point, width: float, height: float, surface: int
    ) -> None:
        """Paste a picture (h, w, 3) where mask (h, w) is not 0, facing the camera; centre and size in metres."""
        scale = self.camera.focal / centre[2]
        size = max(2, round(width * scale)), max(2, round(height * scale))
        x, y = self.camera.project(centre)
        left, top = round(x - size[0] / 2), round(y - size[1] / 2)
        box = self._window(np.array([[left + 1, top + 1], [left + size[0] - 2, top + size[1] - 2]], np.float32))
        if box is None or max(size) > 6 * max(self.pixels.shape):
            return
        way = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_LINEAR
        part = np.s_[box[1] - top : box[3] - top, box[0] - left : box[2] - left]
        self._paste(
            cv2.resize(picture, size, interpolation=way)[part],
            cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)[part] & 128,
            box,
            surface,
        )

    def _paste(self, picture: np.ndarray, mask: np.ndarray, box: tuple[int, int, int, int], surface: int) -> None:
        h, w = picture.shape[:2]
        painted = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
        painted[..., 3] = surface
        cv2.copyTo(painted, mask, self.pixels[box[1] : box[1] + h, box[0] : box[0] + w])
