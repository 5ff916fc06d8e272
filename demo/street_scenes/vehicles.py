"""Cars, trucks, buses and trams: solids with a heading, made of shaded faces."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .canvas import NEAR, Canvas, Point
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, varied
from .labels import BUS, CAR, TRAIN, TRUCK
from .light import Light

PAINTS: tuple[Colour, ...] = (
    (236, 238, 238),
    (226, 228, 230),
    (34, 34, 36),
    (48, 48, 50),
    (128, 130, 132),
    (176, 180, 182),
    (92, 92, 94),
    (44, 44, 168),
    (52, 48, 196),
    (160, 96, 40),
    (120, 66, 32),
    (70, 110, 60),
    (50, 190, 232),
    (60, 120, 214),
    (150, 176, 190),
    (180, 160, 60),
    (70, 84, 110),
)
FLEET: tuple[Colour, ...] = (
    (230, 232, 232),
    (50, 50, 190),
    (60, 170, 230),
    (150, 90, 40),
    (90, 150, 70),
    (200, 190, 180),
    (190, 130, 60),
)
HALF_TRUCK = 1.22
RUBBER: Colour = (34, 33, 33)
RED: Colour = (46, 36, 205)
WHITE_LAMP: Colour = (238, 248, 252)


class Solid:
    """A body at (x, z) with a heading in radians (0 drives away from the camera, pi towards it).

    Local frame in metres: a ahead, u to the body's right, v up. Faces turned away from the camera are not painted.
    """

    def __init__(
        self, canvas: Canvas, light: Light, x: float, z: float, heading: float, label: int, depth: float | None = None
    ) -> None:
        self.canvas, self.light, self.x, self.z = canvas, light, x, z
        self.sin, self.cos = math.sin(heading), math.cos(heading)
        self.surface = canvas.surface(label, max(z if depth is None else depth, NEAR))

    def at(self, a: float, u: float, v: float) -> Point:
        """The world point of a local one."""
        return self.x + a * self.sin + u * self.cos, v, self.z + a * self.cos - u * self.sin

    def seen(self, point: tuple[float, float, float], normal: tuple[float, float, float]) -> bool:
        """Whether a face through the point with this outward normal, both local, is turned to the camera."""
        nx, nz = normal[0] * self.sin + normal[1] * self.cos, normal[0] * self.cos - normal[1] * self.sin
        x, y, z = self.at(*point)
        return (self.canvas.camera.eye - y) * normal[2] > x * nx + z * nz

    def panel(
        self,
        corners: Sequence[tuple[float, float, float]],
        normal: tuple[float, float, float],
        colour: Colour,
        lamp: bool = False,
    ) -> None:
        """A flat face with its outward normal, both local; a lamp is not shaded."""
        if not self.seen(corners[0], normal):
            return
        nx, nz = normal[0] * self.sin + normal[1] * self.cos, normal[0] * self.cos - normal[1] * self.sin
        tone = colour if lamp else scaled(colour, self.light.on(nx, normal[2], nz))
        self.canvas.face([self.at(*c) for c in corners], tone, self.surface)

    def end(self, a: float, u: tuple[float, float], v: tuple[float, float], colour: Colour, lamp: bool = False) -> None:
        """A rectangle across the body at `a`: the front when a > 0, else the rear."""
        corners = [(a, u[0], v[0]), (a, u[0], v[1]), (a, u[1], v[1]), (a, u[1], v[0])]
        self.panel(corners, (math.copysign(1, a), 0, 0), colour, lamp)

    def flank(self, u: float, a: tuple[float, float], v: tuple[float, float], colour: Colour) -> None:
        """A rectangle along the body at `u`."""
        corners = [(a[0], u, v[0]), (a[0], u, v[1]), (a[1], u, v[1]), (a[1], u, v[0])]
        self.panel(corners, (0, math.copysign(1, u), 0), colour)

    def wheels(self, axles: Sequence[float], half: float, radius: float) -> None:
        """Wheels on the side that is seen, and the tyres' treads below the ends."""
        for a in axles:
            for u in (-half, half):
                inner = u - math.copysign(0.22, u)
                low, high = min(u, inner), max(u, inner)
                for way in (-1, 1):
                    if not self.seen((a, u, 0), (way, 0, 0)):
                        continue
                    tread = [
                        (a + way * radius * 0.9, k, v) for k, v in ((low, 0), (low, radius), (high, radius), (high, 0))
                    ]
                    self.panel(tread, (way, 0, 0), RUBBER)
                if not self.seen((a, u, 0), (0, u, 0)):
                    continue
                for r, colour in ((radius, RUBBER), (0.58 * radius, (140, 142, 144)), (0.2 * radius, (60, 60, 62))):
                    rim = [
                        (a + r * math.cos(t * 0.5236), u * 1.005, radius + r * math.sin(t * 0.5236)) for t in range(12)
                    ]
                    self.panel(rim, (0, math.copysign(1, u), 0), colour)

    def box(self, a: tuple[float, float], half: float, v: tuple[float, float], colour: Colour) -> None:
        """A closed box from a[0] to a[1]."""
        for end in a:
            corners = [(end, -half, v[0]), (end, -half, v[1]), (end, half, v[1]), (end, half, v[0])]
            self.panel(corners, (1 if end == a[1] else -1, 0, 0), colour)
        for u in (-half, half):
            self.flank(u, a, v, colour)
        self.panel(
            [(a[0], -half, v[1]), (a[1], -half, v[1]), (a[1], half, v[1]), (a[0], half, v[1])], (0, 0, 1), colour
        )


@dataclass(frozen=True)
class CarShape:
    """Outline of a car in metres; `cabin` says where glass begins and ends, from the rear, as shares of length."""

    length: float
    half: float
    belt: float
    roof: float
    bonnet: float
    cabin: tuple[float, float, float, float]


CARS = {
    'hatchback': CarShape(4.0, 0.88, 0.95, 1.46, 0.88, (0.01, 0.10, 0.55, 0.74)),
    'saloon': CarShape(4.7, 0.92, 0.93, 1.42, 0.86, (0.16, 0.28, 0.56, 0.72)),
    'estate': CarShape(4.8, 0.92, 0.95, 1.48, 0.88, (0.01, 0.06, 0.58, 0.73)),
    'suv': CarShape(4.6, 0.96, 1.12, 1.74, 1.04, (0.02, 0.08, 0.56, 0.70)),
    'van': CarShape(4.9, 0.98, 1.10, 1.95, 1.0, (0.00, 0.02, 0.66, 0.84)),
    'small': CarShape(3.5, 0.82, 0.93, 1.50, 0.86, (0.01, 0.08, 0.60, 0.80)),
    'coupe': CarShape(4.4, 0.92, 0.86, 1.28, 0.80, (0.08, 0.32, 0.52, 0.70)),
}


def paint_car(canvas: Canvas, rng: Rng, light: Light, x: float, z: float, heading: float, shape: CarShape) -> None:
    """A car with its middle at (x, z)."""
    body = Solid(canvas, light, x, z, heading, CAR)
    paint = varied(rng, pick(rng, PAINTS), 0.12)
    half, end, sill = shape.half, shape.length / 2, 0.22
    a0, a1, a2, a3 = (share * shape.length - end for share in shape.cabin)
    rear, bonnet, belt = shape.belt * 0.96, shape.bonnet - 0.12, shape.belt
    side = [(-end, sill), (-end, rear), (a0, belt), (a3, belt - 0.03), (end, bonnet), (end, sill)]
    for s in (-1, 1):
        body.panel([(a, s * half, v) for a, v in side], (0, s, 0), paint)
        body.flank(s * half, (-end, end), (sill, sill + 0.12), mixed(paint, RUBBER, 0.6))
        body.flank(s * half, (-0.05, 0.0), (0.3, belt), scaled(paint, 0.7))
    body.end(-end, (-half, half), (sill, rear), paint)
    body.end(end, (-half, half), (sill, bonnet), paint)
    lid = [(a3, -half, belt - 0.03), (a3, half, belt - 0.03), (end, half, bonnet), (end, -half, bonnet)]
    boot = [(-end, -half, rear), (-end, half, rear), (a0, half, belt), (a0, -half, belt)]
    body.panel(lid, (0.1, 0, 1), paint)
    body.panel(boot, (0, 0, 1), paint)
    body.wheels((-0.31 * shape.length, 0.31 * shape.length), half, 0.33)
    _car_ends(body, rng, light, shape, paint)
    _cabin(body, rng, light, shape, paint, (a0, a1, a2, a3))


def _car_ends(body: Solid, rng: Rng, light: Light, shape: CarShape, paint: Colour) -> None:
    end, half = shape.length / 2, shape.half
    bumper = mixed(paint, RUBBER, pick(rng, (0.2, 0.75)))
    low, high = shape.belt * 0.62, shape.belt * 0.86
    body.end(-end, (-half, half), (0.22, 0.42), bumper)
    body.end(-end, (-0.27, 0.27), (0.48, 0.6), (222, 226, 228))
    brake = scaled(RED, 1.25) if happens(rng, 0.4) or light.lamps_on else scaled(RED, 0.8)
    width = pick(rng, (0.2, 0.3, 0.42))
    top = shape.bonnet - 0.16
    for s in (-1, 1):
        body.end(-end, tuple(sorted((s * half, s * (half - width)))), (low, high), brake, True)
        lamp = WHITE_LAMP if light.lamps_on else (206, 212, 214)
        body.end(end, tuple(sorted((s * half * 0.96, s * half * 0.56))), (top - 0.2, top - 0.02), lamp, light.lamps_on)
    body.end(end, (-half * 0.5, half * 0.5), (top - 0.26, top - 0.06), (44, 44, 46))
    body.end(end, (-half, half), (0.22, 0.4), bumper)
    body.end(end, (-0.26, 0.26), (0.36, 0.47), (222, 226, 228))


def _cabin(
    body: Solid, rng: Rng, light: Light, shape: CarShape, paint: Colour, cabin: tuple[float, float, float, float]
) -> None:
    a0, a1, a2, a3 = cabin
    low, high = shape.belt - 0.01, shape.roof
    wide, slim = shape.half * 0.97, shape.half * 0.78
    glass = mixed(light.glass, (96, 92, 88), 0.2)
    roof = paint if happens(rng, 0.85) else (40, 40, 42)
    for s in (-1, 1):
        frame = [(a0, s * wide, low), (a1, s * slim, high), (a2, s * slim, high), (a3, s * wide, low)]
        body.panel(frame, (0, s, 0.2), paint)
        mid = 0.5 * (a1 + a2)
        lift, drop, inner = low + 0.06, high - 0.07, s * (slim + 0.02)
        for p, q, r, t in (
            ((a0 + a1) * 0.5 + 0.05, a1 + 0.12, mid - 0.06, mid - 0.06),
            (mid + 0.06, mid + 0.06, a2 - 0.05, a3 - 0.16),
        ):
            body.panel(
                [(p, s * wide, lift), (q, inner, drop), (r, inner, drop), (t, s * wide, lift)], (0, s, 0.2), glass
            )
    slope = (a1 - a0) / (high - low)
    for a, b, way in ((a0, a1, -1), (a3, a2, 1)):
        body.panel([(a, -wide, low), (b, -slim, high), (b, slim, high), (a, wide, low)], (way, 0, abs(slope)), paint)
        body.panel(
            [
                (a, -wide * 0.9, low + 0.06),
                (b, -slim * 0.9, high - 0.06),
                (b, slim * 0.9, high - 0.06),
                (a, wide * 0.9, low + 0.06),
            ],
            (way, 0, abs(slope)),
            mixed(glass, light.sky_low, 0.25 if way > 0 else 0.08),
        )
    body.panel([(a1, -slim, high), (a2, -slim, high), (a2, slim, high), (a1, slim, high)], (0, 0, 1), roof)


def paint_truck(canvas: Canvas, rng: Rng, light: Light, x: float, z: float, heading: float) -> None:
    """A lorry: a cab, and a box, a tarpaulin or a tipper behind it; z is its nearer end."""
    length, high, half = between(rng, 6.5, 9.5), between(rng, 2.9, 3.7), HALF_TRUCK
    body = Solid(canvas, light, x, z + (length / 2 if abs(math.cos(heading)) > 0.5 else 0), heading, TRUCK, z)
    paint = varied(rng, pick(rng, PAINTS), 0.12)
    end, split = length / 2, length / 2 - 2.1
    axles = (-end + 1, -end + 2.2, end - 1.2)
    body.wheels(axles, half, 0.5)
    body.box((-end, split - 0.2), half * 0.7, (0.5, 0.95), (52, 52, 54))
    parts = [
        partial(_truck_cab, body, (split, end), min(2.6, high), paint),
        partial(_load, body, rng, (-end, split), high),
    ]
    for part in parts if math.cos(heading) > 0 else reversed(parts):
        part()
    body.wheels(axles, half * 1.003, 0.5)
    body.end(-end - 0.01, (-half, half), (0.5, 0.68), (44, 44, 46))
    for s in (-1, 1):
        body.end(-end - 0.02, tuple(sorted((s * half * 0.95, s * half * 0.7))), (0.7, 0.9), RED, True)


def _load(body: Solid, rng: Rng, a: tuple[float, float], high: float) -> None:
    half, kind = HALF_TRUCK, pick(rng, ('box', 'box', 'tarpaulin', 'tipper'))
    paint, top = varied(rng, pick(rng, FLEET), 0.12), high if kind != 'tipper' else 1.9
    body.box((a[0], a[1] - 0.15), half, (0.95, top), paint)
    for s in (-1, 1):
        if kind == 'box':
            body.flank(s * half * 1.002, (a[0] + 0.8, a[1] - 1), (1.5, 2.3), varied(rng, pick(rng, FLEET), 0.2))
            continue
        for i in range(8):
            rib = a[0] + (a[1] - a[0]) * (i + 0.5) / 8
            body.flank(s * half * 1.002, (rib - 0.06, rib + 0.06), (0.95, top), scaled(paint, 0.8))
    body.end(a[0] - 0.01, (-0.05, 0.05), (0.95, top), scaled(paint, 0.6))
    body.end(a[0] - 0.01, (-half, half), (0.95, 1.08), scaled(paint, 0.6))


def _truck_cab(body: Solid, a: tuple[float, float], roof: float, paint: Colour) -> None:
    half, light, front = HALF_TRUCK, body.light, a[1] + 0.01
    body.box(a, half, (0.45, roof), paint)
    body.end(front, (-half * 0.9, half * 0.9), (1.5, roof - 0.3), mixed(light.glass, light.sky_low, 0.2))
    body.end(front, (-half * 0.6, half * 0.6), (0.75, 1.3), (50, 50, 52))
    for s in (-1, 1):
        body.flank(s * half * 1.002, (a[0] + 0.7, a[1] - 0.15), (1.5, roof - 0.4), light.glass)
        lamp = tuple(sorted((s * half * 0.95, s * half * 0.65)))
        body.end(front, lamp, (0.6, 0.82), WHITE_LAMP, light.lamps_on)


def paint_bus(canvas: Canvas, rng: Rng, light: Light, x: float, z: float, heading: float) -> None:
    """A city bus with a strip of windows, doors, a destination board; z is its nearer end."""
    length, high, half = between(rng, 9, 12), between(rng, 2.9, 3.3), 1.25
    if happens(rng, 0.18):
        high = 4.1  # a double-decker
    body = Solid(canvas, light, x, z + (length / 2 if abs(math.cos(heading)) > 0.5 else 0), heading, BUS, z)
    paint, trim = varied(rng, pick(rng, FLEET[1:]), 0.15), varied(rng, pick(rng, FLEET), 0.1)
    end = length / 2
    glass = (150, 215, 250) if light.lamps_on else light.glass
    body.box((-end, end), half, (0.3, high), paint)
    decks = ((1.2, 2.35),) if high < 4 else ((1.1, 1.95), (2.5, 3.45))
    for s in (-1, 1):
        u = s * half * 1.002
        body.flank(u, (-end, end), (0.3, 0.75), mixed(trim, paint, pick(rng, (0, 0.5, 1))))
        for low, top in decks:
            body.flank(u, (-end + 0.3, end - 0.2), (low, top), glass)
            for i in range(1, 7):
                a = -end + length * i / 7
                body.flank(u * 1.001, (a - 0.06, a + 0.06), (low, top), scaled(paint, 0.8))
        if s > 0:
            for a in (-1.0, end - 1.6):
                body.flank(u * 1.002, (a, a + 1.2), (0.4, 2.2), mixed(glass, (160, 160, 160), 0.3))
    body.wheels((-end + 2.4, end - 2.4), half * 1.003, 0.48)
    for a in (-end - 0.01, end + 0.01):
        for low, top in decks:
            body.end(a, (-half * 0.9, half * 0.9), (low, top + 0.1), mixed(glass, light.sky_low, 0.22))
    board = decks[-1][1]
    body.end(end + 0.02, (-half * 0.7, half * 0.7), (board + 0.15, min(board + 0.5, high - 0.08)), (30, 26, 24))
    body.end(
        end + 0.03, (-half * 0.5, half * 0.5), (board + 0.22, min(board + 0.42, high - 0.12)), (60, 190, 255), True
    )
    _bus_lamps(body, light, half, end)


def _bus_lamps(body: Solid, light: Light, half: float, end: float) -> None:
    for s in (-1, 1):
        body.end(end + 0.02, tuple(sorted((s * half * 0.92, s * half * 0.62))), (0.55, 0.8), WHITE_LAMP, light.lamps_on)
        body.end(-end - 0.02, tuple(sorted((s * half * 0.95, s * half * 0.78))), (0.6, 1.1), RED, True)
    for a in (-end - 0.02, end + 0.02):
        body.end(a, (-half, half), (0.3, 0.48), (48, 48, 50))
        body.end(a, (-0.28, 0.28), (0.5, 0.62), (224, 228, 230))


def paint_tram(canvas: Canvas, rng: Rng, light: Light, x: float, z: float, heading: float) -> None:
    """A tram of two or three cars on its rails, with a rounded nose and a pantograph; z is its nearer end."""
    cars, car, half, high = int(rng.integers(2, 4)), between(rng, 8, 10), 1.3, between(rng, 3.3, 3.6)
    paint = varied(rng, pick(rng, FLEET), 0.12)
    trim = varied(
        rng,
        pick(rng, ((50, 44, 186), (60, 180, 240), (120, 70, 30), (70, 130, 50), (236, 238, 238), (60, 60, 62))),
        0.1,
    )
    glass = (150, 220, 252) if light.lamps_on else light.glass
    seam = between(rng, 0.9, 1.2)
    for i in reversed(range(cars)):
        near = z + i * (car + 0.5)
        body = Solid(canvas, light, x, near + car / 2, heading, TRAIN, near)
        end = car / 2
        body.box((-end, end), half, (0.25, high), paint)
        for s in (-1, 1):
            u = s * half * 1.002
            body.flank(u, (-end, end), (0.25, seam), trim)
            body.flank(u, (-end, end), (high - 0.35, high), scaled(trim, 0.85))
            body.flank(u, (-end + 0.2, end - 0.2), (1.35, 2.6), glass)
            for k in range(1, 6):
                a = -end + car * k / 6
                body.flank(u * 1.001, (a - 0.07, a + 0.07), (1.3, 2.65), scaled(paint, 0.85))
            for a in (-end * 0.5, end * 0.5):
                body.flank(u * 1.002, (a - 0.6, a + 0.6), (0.4, 2.5), mixed(glass, trim, 0.35))
        if i == 0:
            _tram_nose(body, light, trim, glass, end if math.cos(heading) < 0 else -end, half, high)
        body.canvas.line(
            (x, high, near + end), (x + 0.5, high + 0.7, near + end), 0.06, (60, 60, 62), body.surface, 0.6
        )
        body.canvas.line(
            (x + 0.5, high + 0.7, near + end), (x, high + 1.3, near + end), 0.06, (60, 60, 62), body.surface, 0.6
        )


def _tram_nose(body: Solid, light: Light, trim: Colour, glass: Colour, end: float, half: float, high: float) -> None:
    a = end * 1.003
    body.end(a, (-half, half), (0.25, 1.25), trim)
    body.end(a * 1.001, (-half * 0.92, half * 0.92), (1.35, high - 0.75), mixed(glass, light.sky_low, 0.25))
    body.end(a * 1.001, (-half * 0.6, half * 0.6), (high - 0.6, high - 0.2), (28, 26, 24))
    body.end(a * 1.002, (-half * 0.4, half * 0.4), (high - 0.5, high - 0.3), (70, 200, 255), True)
    lamp = WHITE_LAMP if end > 0 else RED
    for s in (-1, 1):
        body.end(a * 1.002, tuple(sorted((s * half * 0.8, s * half * 0.5))), (0.7, 0.95), lamp, True)
    body.end(a * 1.001, (-half, half), (0.12, 0.3), (46, 46, 48))
