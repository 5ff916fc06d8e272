"""One scene from one number."""

import numpy as np

from .buildings import paint_skyline
from .canvas import Camera, Canvas
from .chance import Rng, between, happens
from .ground import paint_ground, shadow_map
from .labels import EGO_VEHICLE, OUT_OF_ROI, TRAIN_ID_OF_RAW
from .light import Light, draw_light, expose, paint_sky
from .nature import Nursery
from .roadside import furnish, line_street
from .stage import Stage
from .street import draw_street
from .traffic import drive, ride, walk

OVERSAMPLING = 2  # the canvas is this much finer than the image
LEAST_HEIGHT, LEAST_WIDTH = 32, 64


def render_scene(seed: int, height: int = 128, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Paint the street scene that belongs to a seed.

    Args:
        seed: any integer from 0; the same seed always gives the same scene.
        height: rows of the image in pixels, at least 32.
        width: columns of the image in pixels, at least 64.

    Returns:
        The image (H, W, 3) uint8 in BGR and the train ids (H, W) uint8: 0..18, and 255 where a pixel is to be ignored.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: the seed is negative or the image too small.
    """
    image, raw = render_raw(seed, height, width)
    return image, TRAIN_ID_OF_RAW[raw]


def render_raw(seed: int, height: int = 128, width: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """As `render_scene`, but with Cityscapes' raw label ids (H, W), which also tell the ignored regions apart."""
    check_integer('seed', seed, 0)
    check_integer('height', height, LEAST_HEIGHT)
    check_integer('width', width, LEAST_WIDTH)
    rng = np.random.Generator(np.random.PCG64(seed))
    light, street = draw_light(rng), draw_street(rng)
    canvas = Canvas(_draw_camera(rng, height * OVERSAMPLING, width * OVERSAMPLING), height * OVERSAMPLING / 256)
    paint_sky(canvas, rng, light)
    paint_skyline(canvas, rng, light, street.end)
    paint_ground(canvas, rng, light, street)
    stage = Stage(canvas, rng, light, street, Nursery(rng, light, canvas.detail))
    for fill in (line_street, furnish, drive, ride, walk):
        fill(stage)
    stage.paint()
    _paint_bonnet(canvas, rng, light)
    shadows = shadow_map(canvas.camera, OVERSAMPLING, (height, width), light, stage.shadows)
    image, raw = expose(canvas, rng, light, shadows, (height, width))
    _mark_out_of_roi(rng, raw)
    return image, raw


def check_integer(name: str, value: int, least: int) -> None:
    """Refuse what is not an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f'{name} must be an integer, got {value!r} of type {type(value).__name__}')
    if value < least:
        raise ValueError(f'{name} must be at least {least}, got {value}')


def _draw_camera(rng: Rng, height: int, width: int) -> Camera:
    """Focal length goes with the height, so that wide and narrow images show things at one size."""
    return Camera(
        width=width,
        height=height,
        focal=height * between(rng, 1.12, 1.42),
        cx=width * between(rng, 0.4, 0.6),
        horizon=height * between(rng, 0.44, 0.56),
        eye=between(rng, 1.25, 1.85),
    )


def _paint_bonnet(canvas: Canvas, rng: Rng, light: Light) -> None:
    """The bonnet of the car that carries the camera."""
    if not happens(rng, 0.55):
        return
    h, w = canvas.camera.height, canvas.camera.width
    surface = canvas.surface(EGO_VEHICLE, 1.0)
    rise, middle = between(rng, 0.05, 0.1) * h, canvas.camera.cx
    paint = between(rng, 20, 90)
    across = np.linspace(-1.2, 1.2, 25)
    for layer in range(6):
        tone = paint + (light.sky_low[1] - paint) * (0.3 * (1 - layer / 5))
        top = [(middle + x * w * 0.55, h - rise * (1 - layer * 0.16) * (1 - 0.5 * abs(x) ** 2.5)) for x in across]
        canvas.shape([*top, (w * 1.3, h + 4), (-w * 0.3, h + 4)], (tone * 1.03, tone, tone * 0.98), surface)


def _mark_out_of_roi(rng: Rng, raw: np.ndarray) -> None:
    """A strip at the border that rectification leaves without labels."""
    if happens(rng, 0.35):
        h, w = raw.shape
        rows, columns = int(h * between(rng, 0.0, 0.03)), max(1, int(w * between(rng, 0.004, 0.02)))
        raw[h - rows :] = OUT_OF_ROI
        raw[:, :columns] = OUT_OF_ROI
        raw[:, w - columns :] = OUT_OF_ROI
