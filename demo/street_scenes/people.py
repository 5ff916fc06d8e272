"""People, bicycles and motorcycles, drawn as jointed figures in three dimensions so that any heading looks right."""

import math
from itertools import pairwise

from .canvas import Canvas, Point
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, varied
from .labels import BICYCLE, MOTORCYCLE, PERSON, RIDER
from .light import Light
from .vehicles import RED, RUBBER, WHITE_LAMP, Solid

SKIN: tuple[Colour, ...] = ((170, 196, 232), (140, 172, 216), (96, 132, 184), (66, 92, 140), (46, 62, 96))
HAIR: tuple[Colour, ...] = ((28, 30, 36), (40, 60, 90), (60, 110, 160), (110, 170, 210), (150, 150, 150), (40, 60, 140))
CLOTHES: tuple[Colour, ...] = (
    (40, 40, 44),
    (60, 58, 62),
    (110, 80, 50),
    (140, 100, 60),
    (60, 60, 180),
    (70, 120, 60),
    (200, 200, 205),
    (235, 236, 238),
    (80, 190, 230),
    (150, 90, 150),
    (100, 130, 160),
    (60, 90, 130),
    (190, 160, 90),
    (120, 120, 124),
    (170, 130, 230),
    (50, 120, 220),
)
TROUSERS: tuple[Colour, ...] = (
    (110, 76, 52),
    (130, 96, 70),
    (46, 44, 44),
    (60, 60, 62),
    (96, 122, 150),
    (80, 84, 86),
    (160, 180, 196),
)


class Figure:
    """A stick frame with thick limbs: local a ahead, u to the right, v up from the foot; metres times `size`."""

    def __init__(
        self, canvas: Canvas, light: Light, foot: Point, heading: float, label: int, size: float = 1.0
    ) -> None:
        self.canvas, self.foot, self.size = canvas, foot, size
        self.sin, self.cos = math.sin(heading), math.cos(heading)
        self.lit = light.on(0, 0.3, -1) * 1.02
        self.surface = canvas.surface(label, foot[2])

    def at(self, a: float, u: float, v: float) -> Point:
        """The world point of a local one."""
        a, u, v = a * self.size, u * self.size, v * self.size
        return self.foot[0] + a * self.sin + u * self.cos, self.foot[1] + v, self.foot[2] + a * self.cos - u * self.sin

    def limb(self, points: list[tuple[float, float, float]], width: float, colour: Colour, least: float = 1.0) -> None:
        """Thick lines through the points."""
        tone, world = scaled(colour, self.lit), [self.at(*p) for p in points]
        for p, q in pairwise(world):
            self.canvas.line(p, q, width * self.size, tone, self.surface, least)

    def patch(self, points: list[tuple[float, float, float]], colour: Colour) -> None:
        """A filled polygon."""
        self.canvas.face([self.at(*p) for p in points], scaled(colour, self.lit), self.surface)

    def ball(self, at: tuple[float, float, float], radius: float, colour: Colour, stretch: float = 1.0) -> None:
        """A round part, such as the head."""
        self.canvas.disc(self.at(*at), radius * self.size, scaled(colour, self.lit), self.surface, stretch)

    def torso(self, low: tuple[float, float], high: tuple[float, float], width: float, colour: Colour) -> None:
        """The trunk between (a, v) of hip and shoulder: seen from any side it has some width."""
        across, along = width * abs(self.cos) + 0.12 * abs(self.sin), self.sin
        right = (self.cos, -self.sin)
        corners = []
        for (a, v), half in ((low, 0.42), (low, -0.42), (high, -0.5), (high, 0.5)):
            x, y, z = self.at(a, 0, v)
            corners.append((x + half * across * self.size * (1 if right[0] >= 0 or along == 0 else -1), y, z))
        self.canvas.face(corners, scaled(colour, self.lit), self.surface)
        self.canvas.line(
            self.at(low[0], 0, low[1]),
            self.at(high[0], 0, high[1]),
            across * 0.8 * self.size,
            scaled(colour, self.lit),
            self.surface,
        )


def paint_person(canvas: Canvas, rng: Rng, light: Light, foot: Point, heading: float) -> None:
    """A pedestrian: adult or child, standing or walking, in trousers, a skirt, a coat, with a bag or an umbrella."""
    size = between(rng, 0.9, 1.1) if happens(rng, 0.88) else between(rng, 0.62, 0.78)
    body = Figure(canvas, light, foot, heading, PERSON, size)
    top, bottom = varied(rng, pick(rng, CLOTHES), 0.2), varied(rng, pick(rng, TROUSERS), 0.2)
    skin, hair = varied(rng, pick(rng, SKIN), 0.08), varied(rng, pick(rng, HAIR), 0.15)
    stride, wide = (between(rng, 0.12, 0.36) if happens(rng, 0.7) else 0.04), between(rng, 0.4, 0.52)
    coat = happens(rng, 0.3)
    skirt = not coat and happens(rng, 0.25)
    for s in (-1, 1):
        knee = s * stride * 0.4 + 0.06
        leg = skin if skirt else bottom
        joints = [(0, s * 0.09, 0.88), (knee, s * 0.1, 0.48), (s * stride, s * 0.1, 0.06)]
        body.limb(joints, 0.15, scaled(leg, 1 if s > 0 else 0.85))
        body.limb([(s * stride - 0.04, s * 0.1, 0.04), (s * stride + 0.14, s * 0.1, 0.03)], 0.09, (38, 38, 42))
    if skirt:
        body.torso((0, 0.52), (0, 0.95), wide * 1.05, bottom)
    body.torso((0, 0.55 if coat else 0.86), (0, 1.42), wide, top)
    sleeve = top if happens(rng, 0.75) else skin
    for s in (-1, 1):
        swing = -s * stride * 0.7
        hand = (swing + 0.12, s * 0.3, 0.82) if happens(rng, 0.85) else (0.25, s * 0.16, 1.2)
        elbow = (swing * 0.4, s * (wide * 0.5 + 0.06), 1.12)
        body.limb([(0, s * wide * 0.5, 1.38), elbow, hand], 0.1, scaled(sleeve, 0.92))
    _carry(body, rng)
    _head(body, rng, skin, hair, (0.02, 1.6))
    if light.wet and happens(rng, 0.45):
        _umbrella(body, rng)


def _carry(body: Figure, rng: Rng) -> None:
    """Perhaps a rucksack or a bag."""
    if happens(rng, 0.22):
        sack = [(-0.16, -0.16, 1.0), (-0.16, 0.16, 1.0), (-0.16, 0.16, 1.4), (-0.16, -0.16, 1.4)]
        body.patch(sack, varied(rng, pick(rng, CLOTHES), 0.3))
    elif happens(rng, 0.2):
        bag = [(0.1, 0.3, 0.5), (0.1, 0.3, 0.82), (-0.15, 0.32, 0.82), (-0.15, 0.32, 0.5)]
        body.patch(bag, varied(rng, pick(rng, CLOTHES), 0.3))


def _umbrella(body: Figure, rng: Rng) -> None:
    x, y, z = body.foot
    rim = [(0.62 * math.cos(t * 0.4488), 1.82 + 0.34 * math.sin(t * 0.4488)) for t in range(8)]
    dome = [(x + u * body.size, y + v * body.size, z) for u, v in rim]
    body.canvas.face(dome, varied(rng, pick(rng, CLOTHES), 0.3), body.surface)


def _head(
    body: Figure, rng: Rng, skin: Colour, hair: Colour, at: tuple[float, float], helmet: Colour | None = None
) -> None:
    a, v = at
    body.limb([(a, 0, v - 0.2), (a, 0, v - 0.08)], 0.11, scaled(skin, 0.85))
    away = body.cos > 0.5
    body.ball((a, 0, v), 0.115, hair if away else skin, 1.2)
    if helmet is not None:
        body.ball((a, 0, v + 0.06), 0.135, helmet, 0.9)
    elif not away:
        body.ball((a - 0.03, 0, v + 0.075), 0.112, hair, 0.75)
        if happens(rng, 0.3):
            body.ball((a - 0.1, 0, v - 0.02), 0.1, hair, 1.5)


def _wheel(bike: Figure, a: float, radius: float, thick: float) -> None:
    ring = [(a + radius * math.cos(t * 0.3927), 0.0, radius + radius * math.sin(t * 0.3927)) for t in range(16)]
    points = [bike.at(*p) for p in ring]
    bike.canvas.tint(points, (120, 122, 124), 0.45, bike.surface)
    bike.limb([*ring, ring[0]], thick, RUBBER, 0.9)
    bike.limb([(a, 0, 0.02), (a, 0, 2 * radius)], 0.015, (150, 150, 150), 0.5)


def paint_bicycle(canvas: Canvas, rng: Rng, light: Light, foot: Point, heading: float, rider: bool) -> None:
    """A bicycle, ridden or parked: wheels, frame, handlebar, saddle, often a basket or mudguards."""
    bike = Figure(canvas, light, foot, heading, BICYCLE, between(rng, 1.0, 1.12))
    paint = varied(rng, pick(rng, CLOTHES), 0.25)
    for a in (-0.53, 0.53):
        _wheel(bike, a, 0.35, 0.055)
    bike.limb([(-0.53, 0, 0.35), (-0.05, 0, 0.3), (0.42, 0, 0.78), (-0.2, 0, 0.8), (-0.05, 0, 0.3)], 0.055, paint)
    bike.limb([(-0.53, 0, 0.35), (-0.2, 0, 0.8), (-0.24, 0, 0.95)], 0.05, paint)
    bike.limb([(0.53, 0, 0.35), (0.42, 0, 0.78), (0.38, 0, 1.0)], 0.055, scaled(paint, 0.9))
    bike.limb([(0.36, -0.28, 1.02), (0.36, 0.28, 1.02)], 0.05, (60, 60, 62))
    bike.limb([(-0.36, 0, 0.97), (-0.12, 0, 0.97)], 0.1, RUBBER)
    if happens(rng, 0.3):
        basket = [(0.5, -0.18, 0.78), (0.5, 0.18, 0.78), (0.62, 0.18, 1.02), (0.62, -0.18, 1.02)]
        bike.patch(basket, (80, 110, 140))
    if happens(rng, 0.4):
        bike.limb([(-0.9, 0, 0.4), (-0.78, 0, 0.68), (-0.5, 0, 0.76)], 0.06, (60, 60, 62))
    if rider:
        _ride(canvas, rng, light, bike, (-0.22, 0.98), (0.36, 1.03), 0.3, happens(rng, 0.5))


def _ride(
    canvas: Canvas,
    rng: Rng,
    light: Light,
    bike: Figure,
    seat: tuple[float, float],
    grip: tuple[float, float],
    pedal: float,
    helmet: bool,
) -> None:
    """Someone in the saddle; the two places are (a, v)."""
    body = Figure(canvas, light, bike.foot, 0, RIDER, bike.size)
    body.sin, body.cos = bike.sin, bike.cos
    top, bottom = varied(rng, pick(rng, CLOTHES), 0.25), varied(rng, pick(rng, TROUSERS), 0.2)
    skin = varied(rng, pick(rng, SKIN), 0.08)
    lean = between(rng, 0.02, 0.3)
    shoulder = (seat[0] + lean, seat[1] + 0.52)
    for s in (-1, 1):
        foot = (0.02 + s * 0.12, s * 0.12, pedal + s * 0.12)
        body.limb(
            [(seat[0], s * 0.1, seat[1]), (seat[0] + 0.42, s * 0.13, 0.5 * (seat[1] + foot[2]) + 0.14), foot],
            0.16,
            scaled(bottom, 1 - 0.1 * s),
        )
        body.limb([foot, (foot[0] + 0.14, foot[1], foot[2] - 0.02)], 0.09, (40, 40, 42))
    body.torso((seat[0], seat[1] - 0.03), shoulder, 0.46, top)
    for s in (-1, 1):
        body.limb(
            [
                (shoulder[0], s * 0.22, shoulder[1] - 0.04),
                (0.5 * (shoulder[0] + grip[0]), s * 0.3, 0.5 * (shoulder[1] + grip[1]) - 0.06),
                (grip[0], s * 0.26, grip[1]),
            ],
            0.1,
            scaled(top, 0.88),
        )
    shell = varied(rng, pick(rng, CLOTHES), 0.2) if helmet else None
    _head(body, rng, skin, pick(rng, HAIR), (shoulder[0] + 0.08, shoulder[1] + 0.2), shell)


def paint_motorcycle(canvas: Canvas, rng: Rng, light: Light, foot: Point, heading: float, rider: bool) -> None:
    """A motorcycle or a scooter, ridden or parked."""
    bike = Figure(canvas, light, foot, heading, MOTORCYCLE, between(rng, 1.0, 1.15))
    paint = varied(
        rng,
        pick(rng, ((40, 40, 44), (50, 50, 200), (190, 110, 40), (60, 150, 60), (220, 222, 224), (60, 190, 240))),
        0.2,
    )
    scooter = happens(rng, 0.4)
    radius = 0.26 if scooter else 0.32
    for a in (-0.68, 0.68):
        ring = [(a + radius * math.cos(t * 0.5236), 0.0, radius + radius * math.sin(t * 0.5236)) for t in range(12)]
        bike.limb([*ring, ring[0]], 0.15, RUBBER)
        bike.patch(ring, (92, 94, 96))
    solid = Solid(canvas, light, foot[0], foot[2], 0, MOTORCYCLE)
    solid.sin, solid.cos, solid.surface = bike.sin, bike.cos, bike.surface
    y = foot[1]
    if scooter:
        solid.box((-0.85, -0.05), 0.2, (y + 0.35, y + 0.78), paint)
        solid.box((-0.05, 0.4), 0.17, (y + 0.22, y + 0.34), (60, 60, 62))
        solid.box((0.38, 0.5), 0.24, (y + 0.22, y + 0.98), paint)
    else:
        solid.box((-0.35, 0.38), 0.19, (y + 0.22, y + 0.55), (70, 72, 74))
        solid.box((-0.8, -0.1), 0.16, (y + 0.6, y + 0.82), mixed(paint, RUBBER, 0.5))
        solid.box((-0.12, 0.42), 0.19, (y + 0.58, y + 0.92), paint)
        bike.limb([(-0.9, 0.16, 0.36), (-0.2, 0.18, 0.3)], 0.1, (170, 172, 174))
    bike.limb([(0.68, 0, radius), (0.45, 0, 1.0)], 0.1, (120, 122, 124))
    bike.limb([(-0.8, 0, 0.8), (-0.15, 0, 0.84)], 0.18, (36, 36, 38))
    bike.limb([(0.42, -0.36, 1.06), (0.42, 0.36, 1.06)], 0.06, (50, 50, 52))
    for s in (-1, 1):
        bike.ball((0.42, s * 0.36, 1.2), 0.07, (90, 92, 94), 0.8)
    lamp, at = (WHITE_LAMP, (0.62, 0, 0.88)) if bike.cos < 0 else (RED, (-0.9, 0, 0.74))
    bike.ball(at, 0.1, lamp)
    if happens(rng, 0.3):
        solid.box((-1.0, -0.62), 0.22, (y + 0.85, y + 1.15), mixed(paint, (60, 60, 60), 0.4))
    if rider:
        _ride(canvas, rng, light, bike, (-0.25, 0.86), (0.4, 1.06), 0.34, True)
