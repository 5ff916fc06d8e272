"""Trees of many species in four seasons, bushes and hedges."""

import math

import cv2
import numpy as np

from .canvas import Canvas, Point
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, smooth_noise, varied
from .labels import VEGETATION
from .light import Light

Sprite = tuple[np.ndarray, np.ndarray]  # picture (h, w, 3) and mask (h, w), both uint8
LEAVES: dict[str, tuple[Colour, ...]] = {
    'spring': ((70, 170, 130), (82, 150, 96), (200, 186, 236), (226, 232, 240), (60, 140, 92)),
    'summer': ((46, 112, 66), (60, 130, 88), (52, 104, 90), (40, 92, 56), (70, 126, 116)),
    'autumn': ((40, 120, 210), (50, 160, 224), (44, 76, 180), (60, 130, 150), (52, 110, 84), (48, 96, 150)),
    'winter': ((92, 104, 122), (80, 92, 112), (100, 106, 116)),
}
EVERGREEN: tuple[Colour, ...] = ((56, 84, 44), (64, 92, 60), (70, 90, 52))
BARK: tuple[Colour, ...] = ((58, 74, 92), (70, 78, 86), (96, 106, 112), (44, 56, 74))
# form: width and height of the crown in metres, height of the bare trunk
FORMS = {
    'round': ((4.0, 6.5), (3.6, 5.6), (1.9, 2.6)),
    'oval': ((2.8, 4.2), (4.5, 7.0), (1.8, 2.4)),
    'poplar': ((1.8, 2.8), (7.0, 11.0), (0.8, 1.4)),
    'conifer': ((3.0, 4.6), (6.0, 10.0), (0.5, 1.0)),
    'umbrella': ((5.0, 7.5), (2.8, 3.8), (2.4, 3.4)),
    'small': ((1.8, 2.8), (1.8, 2.8), (1.4, 1.9)),
}


def _inside(form: str, rng: Rng) -> tuple[float, float]:
    """A point of the crown: across in [-1, 1], up in [0, 1]."""
    up = rng.random()
    if form == 'conifer':
        up = up**1.5
        half = (1 - up) * (0.75 + 0.25 * ((up * 5) % 1 < 0.5)) + 0.04
    elif form == 'bush':
        half = math.sqrt(max(0.0, 1 - (up * 0.95) ** 2))
    else:
        half = math.sqrt(max(0.0, 1 - (2 * up - 1) ** 2))
    return half * between(rng, -1, 1), up


def foliage(rng: Rng, light: Light, form: str, leaf: Colour, detail: float, bare: bool = False) -> Sprite:
    """A crown made of some hundred clumps, dark and low first, lit ones on top of them."""
    size = int(88 * min(max(detail, 1), 4))
    picture, mask = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.uint8)
    sun = light.sun[0] * (1 if light.strength else 0)
    picture[:] = [min(255, round(c * 0.5)) for c in leaf]  # what shows between the clumps
    clumps = sorted(
        (up * 0.75 + 0.25 * rng.random(), across, up) for across, up in (_inside(form, rng) for _ in range(90))
    )
    draws = rng.random((len(clumps), 6)).tolist()
    grain = size * {'conifer': 0.055, 'poplar': 0.075}.get(form, 0.085)
    middle = size / 2
    for rank, (_, across, up) in enumerate(clumps):
        level = 0.5 + 0.34 * rank / len(clumps) + 0.2 * up + 0.16 * sun * across
        hue, tall, wide, turn, red, blue = draws[rank]
        level *= (0.9 + 0.2 * hue) * (0.62 + 0.5 * light.ambient + 0.2 * light.strength)
        tone = leaf[0] * level * (0.95 + 0.1 * blue), leaf[1] * level, leaf[2] * level * (0.95 + 0.1 * red)
        x, y = middle + across * (middle - grain), size - grain - up * (size - 2 * grain)
        axes = (max(1, round(grain * (0.6 + 0.6 * wide))), max(1, round(grain * (0.5 + 0.45 * tall))))
        centre = (round(x), round(y))
        cv2.ellipse(picture, centre, axes, 180 * turn, 0, 360, tone, -1)
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    noise = smooth_noise(rng, size, size, size / 16, 2)
    picture = np.clip(picture * (1 + 0.3 * noise)[..., None], 0, 255).astype(np.uint8)
    ragged = cv2.blur(mask, (5, 5)).astype(np.float32) + 75 * noise > 100
    if bare:
        ragged &= np.abs(smooth_noise(rng, size, size, size / 11, 2)) < 0.3
    return picture, ragged.astype(np.uint8) * 255


class Nursery:
    """The few species of one scene; its trees are copies of them, mirrored and in other sizes."""

    def __init__(self, rng: Rng, light: Light, detail: float) -> None:
        self.species: list[tuple[str, Sprite, Colour]] = []
        self.light = light
        for _ in range(3):
            form = pick(rng, ('round', 'round', 'oval', 'poplar', 'conifer', 'umbrella', 'small'))
            evergreen = form == 'conifer' or happens(rng, 0.12)
            leaf = varied(rng, pick(rng, EVERGREEN if evergreen else LEAVES[light.season]), 0.15)
            bare = light.season == 'winter' and not evergreen
            sprite = foliage(rng, light, form, leaf, detail, bare)
            self.species.append((form, sprite, scaled(pick(rng, BARK), 0.6 + 0.5 * light.ambient)))
        green = EVERGREEN if light.season == 'winter' else LEAVES['summer']
        self.green = varied(rng, pick(rng, green), 0.15)
        self.bush = foliage(rng, light, 'bush', self.green, detail)

    def paint_tree(self, canvas: Canvas, rng: Rng, foot: Point, size: float = 1.0) -> None:
        """A tree that stands at `foot`: trunk, limbs and crown, all of it vegetation."""
        form, (picture, mask), bark = pick(rng, self.species)
        width, height, trunk = (between(rng, *r) * size for r in FORMS[form])
        surface = canvas.surface(VEGETATION, foot[2])
        x, y, z = foot
        base, lean = 0.035 * (height + trunk), between(rng, -0.15, 0.15)
        top = y + trunk + 0.45 * height
        canvas.face(
            [(x - base, y, z), (x - base * 0.5 + lean, top, z), (x + base * 0.5 + lean, top, z), (x + base, y, z)],
            bark,
            surface,
        )
        canvas.face(
            [
                (x + base * 0.2, y, z),
                (x + base * 0.1 + lean, top, z),
                (x + base * 0.5 + lean, top, z),
                (x + base, y, z),
            ],
            scaled(bark, 0.75),
            surface,
        )
        for way in (-1, 1):
            canvas.line(
                (x + lean * 0.6, y + trunk * 0.9, z),
                (x + way * width * 0.25, y + trunk + height * 0.4, z),
                base,
                bark,
                surface,
            )
        if happens(rng, 0.5):
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        canvas.sprite(picture, mask, (x + lean, y + trunk + 0.5 * height, z), width, height, surface)

    def paint_bush(self, canvas: Canvas, rng: Rng, foot: Point, width: float, height: float) -> None:
        """A low bush."""
        picture, mask = self.bush
        surface = canvas.surface(VEGETATION, foot[2])
        canvas.sprite(picture, mask, (foot[0], foot[1] + 0.5 * height, foot[2]), width, height * 1.05, surface)
        if happens(rng, 0.2):
            for _ in range(8):
                at = (foot[0] + between(rng, -0.35, 0.35) * width, foot[1] + between(rng, 0.3, 0.8) * height, foot[2])
                canvas.disc(at, 0.06, pick(rng, ((90, 60, 220), (220, 220, 240), (60, 200, 240))), surface)

    def paint_hedge(self, canvas: Canvas, rng: Rng, x: float, z: tuple[float, float], height: float) -> None:
        """A clipped hedge along the street at x."""
        near, far = max(z[0], 1.5), z[1]
        surface = canvas.surface(VEGETATION, side=x)
        columns, rows = int(min(60 * (far - near) / height / 2, 400)), 60
        leaves = smooth_noise(rng, rows, max(8, columns), 9, 3)
        lit = self.light.on(-math.copysign(1, x), 0, 0)
        picture = np.float32(scaled(self.green, lit)) * (1 + 0.38 * leaves[..., None])
        picture[:10] *= 1.22
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        canvas.textured([(x, height, near), (x, height, far), (x, 0, far), (x, 0, near)], picture, surface)
        if z[0] >= near:
            end, s = canvas.surface(VEGETATION, near), math.copysign(1.1, x)
            part = picture[:, :60]
            canvas.textured(
                [(x, height, near), (x + s, height, near), (x + s, 0, near), (x, 0, near)],
                (part * 0.85).astype(np.uint8),
                end,
            )
        top = canvas.surface(VEGETATION, 0.5 * (near + far))
        if height < canvas.camera.eye:
            s = math.copysign(1.1, x)
            canvas.face(
                [(x, height, near), (x, height, far), (x + s, height, far), (x + s, height, near)],
                mixed(scaled(self.green, 1.2), (200, 220, 220), 0.08),
                top,
            )
