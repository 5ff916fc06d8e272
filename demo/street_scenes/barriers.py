"""Walls and fences along the street."""

import cv2
import numpy as np

from .buildings import AWNINGS, WALLS, Block, first_seen, pixels_per_metre, shaded
from .canvas import Canvas
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, varied
from .labels import FENCE, WALL
from .light import Light


def paint_wall(canvas: Canvas, rng: Rng, light: Light, block: Block) -> None:
    """A free-standing wall: brick, stone, panels or plaster, some with graffiti; its colours are those of houses."""
    s, x, h = block.sign, block.sign * block.front, block.height
    near, far = first_seen(canvas, block), block.z[1]
    if near >= far:
        return
    base, picture = _masonry(canvas, rng, (far - near, h), pixels_per_metre(canvas, 0.7 * near + 0.3 * far))
    surface, lit = canvas.surface(WALL, side=x), light.on(-s, 0, 0)
    canvas.textured([(x, h, near), (x, h, far), (x, 0, far), (x, 0, near)], shaded(picture, lit), surface)
    if block.z[0] >= near:
        end = canvas.surface(WALL, near)
        canvas.frontal((x, x + s * 0.5), (0, h), near, scaled(base, light.on(0, 0, -1)), end)
    canvas.lateral(x - s * 0.06, (h - 0.12, h + 0.05), (near, far), scaled(base, 1.12 * lit), surface)


def _masonry(canvas: Canvas, rng: Rng, size: tuple[float, float], ppm: float) -> tuple[Colour, np.ndarray]:
    """The colour and the texture (h, w, 3) float32 of a wall; `size` is length and height in metres."""
    rows, columns = max(4, round(size[1] * ppm)), max(4, round(size[0] * ppm))
    kind = pick(rng, ('brick', 'stone', 'panel', 'plaster'))
    base = pick(rng, WALLS[:3]) if kind == 'brick' else mixed(pick(rng, WALLS), (160, 164, 168), 0.7)
    base = varied(rng, base, 0.12)
    picture = np.full((rows, columns, 3), base, np.float32)
    if kind == 'panel':
        picture[:, :: max(3, round(2.4 * ppm))] *= 0.7
    elif kind != 'plaster':
        course = max(2, round((0.14 if kind == 'brick' else 0.4) * ppm))
        blocks = rng.uniform(0.86, 1.12, (rows // course + 1, columns // (2 * course) + 1)).astype(np.float32)
        picture *= cv2.resize(blocks, (columns, rows), interpolation=cv2.INTER_NEAREST)[..., None]
        picture[::course] *= 0.86
    if happens(rng, 0.4):
        _graffiti(rng, picture, ppm)
    picture *= 1 + 0.1 * canvas.noise(rng, rows, columns)[..., None]
    return base, picture


def _graffiti(rng: Rng, picture: np.ndarray, ppm: float) -> None:
    rows, columns = picture.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        at = (int(rng.random() * columns), int(rows * between(rng, 0.45, 0.8)))
        colour = varied(rng, pick(rng, AWNINGS), 0.4)
        for _ in range(5):
            to = at[0] + round(between(rng, 0.1, 0.7) * ppm), int(rows * between(rng, 0.35, 0.9))
            cv2.line(picture, at, to, colour, max(1, round(0.16 * ppm)))
            at = to


def paint_fence(canvas: Canvas, rng: Rng, light: Light, block: Block) -> None:
    """A fence that one sees through: pickets, bars, mesh, boards or a guard rail; all of it is labelled fence."""
    s, x, h = block.sign, block.sign * block.front, block.height
    near, far = first_seen(canvas, block), block.z[1]
    if near >= far:
        return
    kind = pick(rng, ('picket', 'bars', 'mesh', 'boards', 'rail'))
    colours: tuple[Colour, ...] = {
        'picket': ((226, 230, 232), (110, 150, 186)),
        'bars': ((44, 46, 48), (60, 84, 50)),
        'mesh': ((132, 136, 134), (80, 120, 84)),
        'boards': ((78, 112, 150), (96, 116, 132)),
        'rail': ((176, 178, 178), (150, 154, 158)),
    }[kind]
    colour = scaled(varied(rng, pick(rng, colours), 0.12), light.on(-s, 0, 0))
    surface = canvas.surface(FENCE, side=x)
    share = {'picket': 0.3, 'bars': 0.3, 'mesh': 0.5, 'boards': 0.9, 'rail': 0.3}[kind]
    canvas.tint([(x, 0, near), (x, h, near), (x, h, far), (x, 0, far)], colour, share, surface)
    pitch = {'picket': 0.32, 'bars': 0.36, 'mesh': 1.8, 'boards': 0.5, 'rail': 2.0}[kind]
    tone = scaled(colour, 0.8) if kind == 'boards' else colour
    z = near
    while z < min(far, 40):
        canvas.line((x, 0, z), (x, h, z), 0.05 if kind != 'picket' else 0.14, tone, surface, 0.6)
        z += max(pitch, pitch * z / 9)
    for level in {'rail': (0.6, 0.75, 0.9), 'boards': (0.97,), 'mesh': (0.06, 0.5, 0.97)}.get(kind, (0.25, 0.9)):
        half = 0.13 if kind == 'rail' else 0.045
        canvas.face(
            [
                (x, level * h - half, near),
                (x, level * h - half, far),
                (x, level * h + half, far),
                (x, level * h + half, near),
            ],
            tone,
            surface,
        )
