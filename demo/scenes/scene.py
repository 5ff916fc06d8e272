"""One street scene from one seed: the image, the classes of its pixels, and its objects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Camera, Canvas
from .classes import CLASSES, IGNORED, THINGS
from .light import Rng, draw_light, photograph, sky, smooth_noise
from .street import draw_street, fill_street

OVERSAMPLING = 2  # the canvas is this much finer than the image
LEAST = (32, 64)


@dataclass(frozen=True)
class Scene:
    """A scene and its truth.

    Attributes:
        image: (H, W, 3) of uint8, in the order of cv2: blue, green, red.
        labels: (H, W) of uint8, train ids, ``IGNORED`` where nothing is scored.
        objects: (H, W) of uint8, the number of the object that a pixel shows.
        things: numbers and class names of the objects with instances, see ``THINGS``.
        large: the image, ``OVERSAMPLING`` times as large.
    """

    image: np.ndarray
    labels: np.ndarray
    objects: np.ndarray
    things: dict[int, str]
    large: np.ndarray


def render_scene(seed: int, height: int = 128, width: int = 256) -> Scene:
    """Paint the scene that belongs to a seed; the same seed always gives the same scene.

    Raises:
        ValueError: if the image would be smaller than 32 x 64 pixels.
    """
    if height < LEAST[0] or width < LEAST[1]:
        raise ValueError(f'height and width must be at least {LEAST[0]} and {LEAST[1]}, got {height} and {width}')
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = Canvas(_draw_camera(rng, height * OVERSAMPLING, width * OVERSAMPLING), draw_light(rng))
    canvas.pixels[..., :3] = sky(rng, canvas.light, *canvas.pixels.shape[:2])
    fill_street(canvas, rng, draw_street(rng))
    _paint_hood(canvas, rng)
    return _expose(canvas, rng, (height, width))


def _draw_camera(rng: Rng, height: int, width: int) -> Camera:
    return Camera(
        height=height,
        width=width,
        focal=height * rng.uniform(1.05, 1.4),
        cx=width * rng.uniform(0.4, 0.6),
        horizon=height * rng.uniform(0.44, 0.56),
        eye=rng.uniform(1.3, 1.9),
    )


def _paint_hood(canvas: Canvas, rng: Rng) -> None:
    """Paint the hood of the car that carries the camera, which is ignored as in Cityscapes."""
    if rng.random() < 0.5:
        return
    height, width = canvas.pixels.shape[:2]
    across = np.linspace(-1.2, 1.2, 40)
    top = height * (1 - rng.uniform(0.04, 0.09) * (1 - 0.5 * np.abs(across) ** 2.5))
    outline = np.stack([canvas.camera.cx + across * width * 0.55, top], -1)
    corners = np.concatenate([outline, [(width * 1.3, height + 9), (-width * 0.3, height + 9)]])
    tone = rng.uniform(25, 110)
    canvas.fill(corners[None], canvas.light.lit((tone, tone, tone), 1.0), canvas.new(None))


def _expose(canvas: Canvas, rng: Rng, size: tuple[int, int]) -> Scene:
    classes = np.array(canvas.classes, np.uint8)
    numbers = canvas.pixels[..., 3]
    height, width = numbers.shape
    noise = smooth_noise(rng, height, width, height / 40)
    image = canvas.pixels[..., :3] * (1 + np.float32(canvas.textures)[numbers] * noise)[..., None]
    large = photograph(rng, image)
    image = cv2.resize(large, size[::-1], interpolation=cv2.INTER_AREA)
    objects = numbers[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING].copy()
    names = [None if index == IGNORED else CLASSES[index] for index in classes]
    things = {number: name for number, name in enumerate(names) if name in THINGS}
    return Scene(image, classes[objects], objects, things, large)
