"""Lamps, traffic lights, traffic signs, bollards, and the small things that no class has."""

import math

from .canvas import Canvas, Point
from .chance import Colour, Rng, between, happens, pick, scaled, varied
from .labels import POLE, STATIC, TRAFFIC_LIGHT, TRAFFIC_SIGN
from .light import Light

METAL: tuple[Colour, ...] = ((120, 124, 126), (92, 94, 96), (60, 66, 58), (150, 154, 156), (52, 52, 54))
BLUE: Colour = (196, 104, 20)
SIGN_RED: Colour = (44, 36, 206)
YELLOW: Colour = (30, 196, 250)
WHITE: Colour = (244, 246, 246)
GREEN: Colour = (84, 130, 20)


def _post(canvas: Canvas, light: Light, foot: Point, height: float, width: float, colour: Colour) -> tuple[int, Colour]:
    surface, tone = canvas.surface(POLE, foot[2]), scaled(colour, light.on(0, 0.2, -1))
    canvas.line(foot, (foot[0], foot[1] + height, foot[2]), width, tone, surface, 1.5)
    canvas.line(
        (foot[0] + width * 0.3, foot[1], foot[2]),
        (foot[0] + width * 0.3, foot[1] + height, foot[2]),
        width * 0.3,
        scaled(tone, 0.72),
        surface,
        0.5,
    )
    return surface, tone


def paint_lamp(canvas: Canvas, rng: Rng, light: Light, foot: Point, inward: float) -> None:
    """A street lamp whose arm reaches over the road, or an old lantern."""
    high = between(rng, 5.5, 8)
    glow = (190, 236, 255) if light.lamps_on else (206, 212, 214)
    x, y, z = foot
    if happens(rng, 0.3):
        high = between(rng, 3.6, 4.4)
        surface, _ = _post(canvas, light, foot, high, 0.15, METAL[-1])
        for v, half in ((0, 0.16), (0.6, 0.3)):
            canvas.line((x - half, y + high + v, z), (x + half, y + high + v, z), 0.1, METAL[-1], surface)
        canvas.face(
            [
                (x - 0.16, y + high, z),
                (x - 0.28, y + high + 0.6, z),
                (x + 0.28, y + high + 0.6, z),
                (x + 0.16, y + high, z),
            ],
            glow,
            surface,
        )
        return
    surface, tone = _post(canvas, light, foot, high, 0.2, pick(rng, METAL))
    reach = inward * between(rng, 1.2, 2.4)
    canvas.line((x, y + high, z), (x + reach, y + high + 0.5, z), 0.13, tone, surface)
    canvas.face(
        [
            (x + reach * 0.7, y + high + 0.3, z),
            (x + reach * 0.7, y + high + 0.6, z),
            (x + reach * 1.1, y + high + 0.6, z),
            (x + reach * 1.1, y + high + 0.35, z),
        ],
        glow if light.lamps_on else scaled(tone, 1.1),
        surface,
    )


def paint_traffic_light(canvas: Canvas, rng: Rng, light: Light, foot: Point, inward: float, state: int) -> None:
    """A signal head on its post, often a second one on an arm over the road; state 0 red, 1 amber, 2 green."""
    arm = happens(rng, 0.55)
    x, y, z = foot
    surface, tone = _post(canvas, light, foot, 5.6 if arm else 3.4, 0.2, pick(rng, METAL))
    heads = [(x, y + 2.9)]
    if arm:
        reach = inward * between(rng, 2.2, 4.0)
        canvas.line((x, y + 5.5, z), (x + reach, y + 5.6, z), 0.14, tone, surface, 1.2)
        heads.append((x + reach, y + 5.2))
    lamps: tuple[Colour, ...] = ((60, 50, 255), (60, 190, 255), (170, 250, 90))
    signal = canvas.surface(TRAFFIC_LIGHT, z)
    shell = pick(rng, ((32, 32, 30), (40, 42, 36), (46, 44, 42), (34, 120, 150)))
    for hx, hy in heads:
        canvas.face(
            [(hx - 0.27, hy - 0.7, z), (hx - 0.27, hy + 0.7, z), (hx + 0.27, hy + 0.7, z), (hx + 0.27, hy - 0.7, z)],
            shell,
            signal,
        )
        for i, colour in enumerate(lamps):
            shown = colour if i == state else scaled(colour, 0.24)
            canvas.disc((hx, hy + 0.43 * (1 - i), z), 0.18, shown, signal)


class _Plate:
    """Flat shapes in the plane of one sign, in metres around its middle."""

    def __init__(self, canvas: Canvas, light: Light, middle: Point, surface: int) -> None:
        self.canvas, self.middle, self.surface = canvas, middle, surface
        self.lit = light.on(0, 0.1, -1)

    def polygon(self, corners: int, radius: float, colour: Colour, turn: float = 0.0) -> None:
        """A regular polygon; a corner points up unless it is turned (radians)."""
        x, y, z = self.middle
        angles = [2 * math.pi * i / corners + turn for i in range(corners)]
        points = [(x + radius * math.sin(t), y + radius * math.cos(t), z) for t in angles]
        self.canvas.face(points, scaled(colour, self.lit), self.surface)

    def bar(self, half: float, rise: float, colour: Colour, up: float = 0.0) -> None:
        """A rectangle, `half` its width and `rise` half its height, moved up."""
        x, y, z = self.middle
        tone = scaled(colour, self.lit)
        self.canvas.frontal((x - half, x + half), (y + up - rise, y + up + rise), z, tone, self.surface)


def paint_sign(canvas: Canvas, rng: Rng, light: Light, foot: Point) -> None:
    """A traffic sign on a post: disc, triangle, square, octagon, diamond or a direction board; sometimes two."""
    high = between(rng, 2.3, 2.9)
    _post(canvas, light, foot, high, 0.1, METAL[pick(rng, (0, 1, 3))])
    surface = canvas.surface(TRAFFIC_SIGN, foot[2])
    for i in range(1 + happens(rng, 0.35)):
        plate = _Plate(canvas, light, (foot[0], foot[1] + high - 1.05 * i, foot[2]), surface)
        _paint_plate(plate, rng, between(rng, 0.42, 0.56))


def _paint_plate(plate: _Plate, rng: Rng, r: float) -> None:
    kind = pick(rng, ('ban', 'order', 'warning', 'yield', 'stop', 'square', 'priority', 'board'))
    if kind in ('warning', 'yield'):
        turn = 0.0 if kind == 'warning' else math.pi
        plate.polygon(3, r * 1.25, SIGN_RED, turn)
        plate.polygon(3, r * 0.8, WHITE, turn)
    elif kind == 'priority':
        plate.polygon(4, r * 1.2, WHITE)
        plate.polygon(4, r * 0.85, YELLOW)
    elif kind == 'stop':
        plate.polygon(8, r * 1.1, SIGN_RED, 0.39)
        plate.bar(r * 0.7, 0.1, WHITE)
    elif kind in ('square', 'board'):
        wide, colour = (r, BLUE) if kind == 'square' else (r * 1.9, pick(rng, (BLUE, YELLOW, WHITE, GREEN)))
        plate.bar(wide, r * 0.95, colour)
        for up in (-0.4 * r, 0.2 * r):
            plate.bar(wide * 0.7, 0.09, (40, 40, 40) if colour in (YELLOW, WHITE) else WHITE, up)
    elif kind == 'ban':
        plate.polygon(16, r, SIGN_RED)
        plate.polygon(16, r * 0.7, WHITE)
        plate.bar(r * 0.4, r * 0.3, (50, 50, 50))
    else:
        plate.polygon(16, r, BLUE)
        plate.bar(r * 0.12, r * 0.3, WHITE)


def paint_bollard(canvas: Canvas, rng: Rng, light: Light, foot: Point) -> None:
    """A bollard."""
    surface, _ = _post(canvas, light, foot, 0.95, 0.16, pick(rng, METAL))
    canvas.disc((foot[0], foot[1] + 0.95, foot[2]), 0.12, pick(rng, (WHITE, SIGN_RED, METAL[-1])), surface)


def paint_clutter(canvas: Canvas, rng: Rng, light: Light, foot: Point) -> None:
    """A bin, a cabinet or an advertising pillar: 'static' in Cityscapes, ignored in training."""
    wide, high = pick(rng, ((0.35, 0.9), (0.5, 1.2), (0.6, 2.6)))
    surface = canvas.surface(STATIC, foot[2])
    colour = scaled(
        varied(rng, pick(rng, ((60, 90, 60), (90, 92, 94), (60, 70, 90), (120, 80, 50))), 0.2), light.on(0, 0, -1)
    )
    x, y, z = foot
    canvas.face([(x - wide, y, z), (x - wide, y + high, z), (x + wide, y + high, z), (x + wide, y, z)], colour, surface)
    canvas.face(
        [
            (x - wide, y + high * 0.8, z),
            (x - wide, y + high, z),
            (x + wide, y + high, z),
            (x + wide, y + high * 0.8, z),
        ],
        scaled(colour, 0.7),
        surface,
    )
    if high > 2:
        poster = varied(rng, pick(rng, (YELLOW, BLUE, SIGN_RED, WHITE, GREEN)), 0.3)
        canvas.face(
            [
                (x - wide * 0.8, y + 0.5, z),
                (x - wide * 0.8, y + 2, z),
                (x + wide * 0.8, y + 2, z),
                (x + wide * 0.8, y + 0.5, z),
            ],
            poster,
            surface,
        )
