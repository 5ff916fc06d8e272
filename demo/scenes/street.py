"""The street: its lanes and sides, what stands and moves there, and the order in which it is painted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from .canvas import Canvas, Frame, Span
from .light import Rng, paint_color
from .people import paint_person
from .roadside import (
    paint_building,
    paint_fence,
    paint_hedge,
    paint_lamp,
    paint_sign,
    paint_skyline,
    paint_traffic_light,
    paint_tree,
    paint_wall,
)
from .vehicles import LENGTHS, WIDTHS, paint_vehicle

LANE, FAR = 3.4, 110.0  # meters
# How many of a kind a scene has: the least, and the most.
TRAFFIC = {'train': (1, 2), 'bus': (0, 1), 'truck': (0, 2), 'car': (2, 8), 'motorcycle': (0, 3), 'bicycle': (0, 3)}
ALONG, TOWARD = 0.0, np.pi
Paint = Callable[[Canvas, Rng], None]


@dataclass(frozen=True)
class Side:
    """One side of a street, from the road outward.

    Attributes:
        sign: -1 on the left, 1 on the right.
        road: border of the road (x in meters).
        verge: width of the green between road and sidewalk.
        walk: width of the sidewalk.
        garden: width of the green between sidewalk and houses.
    """

    sign: int
    road: float
    verge: float
    walk: float
    garden: float

    @property
    def inner(self) -> float:
        """Border of the sidewalk on the side of the road."""
        return self.road + self.sign * self.verge

    @property
    def outer(self) -> float:
        """Border of the sidewalk on the side of the houses."""
        return self.inner + self.sign * self.walk


@dataclass
class Street:
    """The plan of a street, and what is to be painted there.

    Attributes:
        lanes: middle of each lane (x in meters) and the heading of its traffic.
        sides: the left and the right one.
        crossing: where another street crosses (z in meters), if one does.
        tram: middle of the lane with rails, if there is one.
        taken: stretches of each lane where something stands.
        queue: what is to be painted, with a key to sort by.
        shadows: place (x, z) and size (x, z) of what stands on the ground.
    """

    lanes: list[tuple[float, float]]
    sides: tuple[Side, Side]
    crossing: Span | None
    tram: float | None
    taken: dict[float, list[Span]] = field(default_factory=dict)
    queue: list[tuple[tuple, Paint]] = field(default_factory=list)
    shadows: list[tuple[float, float, float, float]] = field(default_factory=list)

    def add(self, x: float, z: float, paint: Paint, *, size: Span | None = None, outer: float | None = None) -> None:
        """Queue what stands at (x, z), where z is its nearest point, and its shadow of ``size`` (x, z).

        A ray from the camera only moves outward and away. So the outer of two strips along the street is painted
        first, and within a strip the farther thing. The crossing street divides the scene in three.
        """
        near, far = self.crossing or (0.0, 0.0)
        zone = 0 if z >= far else 1 if z > near else 2
        strip = round(abs(outer if outer is not None else x) / 1.7)
        key = (zone, -z, -strip) if zone == 1 else (zone, -strip, -z)
        self.queue.append(((*key, len(self.queue)), paint))
        if size is not None:
            self.shadows.append((x, z, *size))

    def find_place(self, rng: Rng, lane: float, length: float, nearest: float) -> float | None:
        """Return the nearest point of a free stretch of a lane, more often close than far; None if none is found."""
        taken = self.taken.setdefault(lane, [])
        for _ in range(8):
            z = float(np.exp(rng.uniform(np.log(nearest), np.log(55))))
            if all(z + length + 1.5 < start or z > end + 1.5 for start, end in taken) and not self.crosses(z, length):
                taken.append((z, z + length))
                return z
        return None

    def crosses(self, z: float, length: float) -> bool:
        """Return whether a stretch of the street lies in the crossing."""
        return self.crossing is not None and z < self.crossing[1] and z + length > self.crossing[0]


def draw_street(rng: Rng) -> Street:
    """Draw lanes, sidewalks, gardens, rails and whether another street crosses."""
    left, right = int(rng.choice([1, 2], p=[0.6, 0.4])), int(rng.choice([0, 1, 2], p=[0.5, 0.4, 0.1]))
    tram = float(rng.choice([-LANE * left, LANE * right])) if rng.random() < 0.7 and left + right > 1 else None
    lanes = [(-LANE * n, TOWARD) for n in range(1, left + 1)] + [(LANE * n, ALONG) for n in range(right + 1)]
    start = rng.uniform(14, 45)
    sides = tuple(
        Side(
            sign=sign,
            road=sign * LANE * (number + 0.55),
            verge=rng.uniform(1, 4) if rng.random() < 0.5 else 0.0,
            walk=rng.uniform(1.3, 3.5),
            garden=rng.uniform(3, 12) if rng.random() < 0.6 else 0.0,
        )
        for sign, number in ((-1, left), (1, right))
    )
    crossing = (start, start + rng.uniform(9, 14)) if rng.random() < 0.45 else None
    return Street(lanes, sides, crossing, tram)


def fill_street(canvas: Canvas, rng: Rng, street: Street) -> None:
    """Paint a street with everything in it."""
    paint_skyline(canvas, rng)
    _paint_ground(canvas, rng, street)
    for side in street.sides:
        _line(street, rng, side)
        _furnish(street, rng, side)
    _drive(street, rng)
    _walk(street, rng)
    _paint_shadows(canvas, street)
    for _, paint in sorted(street.queue, key=lambda entry: entry[0]):
        paint(canvas, rng)


# --- the ground ------------------------------------------------------------------------------------------------------


def _paint_ground(canvas: Canvas, rng: Rng, street: Street) -> None:
    terrain, walk, road = canvas.new('terrain'), canvas.new('sidewalk'), canvas.new('road')
    gray = rng.uniform(75, 125)
    asphalt = (gray * 1.02, gray, gray * 0.99)
    stone = tuple(np.array((150.0, 155.0, 162.0)) * rng.uniform(0.85, 1.2))
    grass = paint_color(rng, (0.3, 0.6), (0.4, 0.65), (0.14, 0.3))
    left, right = street.sides
    outer = [side.outer if side.garden else side.sign * 90.0 for side in street.sides]  # paved up to the houses
    depths = list(np.geomspace(FAR, 1.0, 10))
    for z in zip(depths[1:], depths, strict=False):  # in bands, so that the haze deepens
        canvas.ground((-90, 90), z, grass, terrain)
        canvas.ground(tuple(outer), z, stone, walk)
        canvas.ground((left.inner, right.inner), z, grass, terrain)
        canvas.ground((left.road - 0.2, right.road + 0.2), z, tuple(0.8 * c for c in stone), walk)
        canvas.ground((left.road, right.road), z, asphalt, road)
    if street.crossing:
        canvas.ground((-90, 90), street.crossing, asphalt, road)
    _paint_marks(canvas, rng, street, road)


def _paint_marks(canvas: Canvas, rng: Rng, street: Street, road: int) -> None:
    white = (215.0, 218.0, 220.0)
    borders = sorted(x for x, _ in street.lanes)[:-1]
    for border in borders:
        solid = border + LANE / 2 < 0 and rng.random() < 0.5
        for z in np.arange(2, 60, 6.0):
            if not street.crosses(z, 3):
                x = border + LANE / 2
                canvas.ground((x - 0.07, x + 0.07), (z, z + (6 if solid else 3)), white, road)
    if street.tram is not None:
        rail = canvas.new(None)
        for x in (street.tram - 0.72, street.tram + 0.72):
            canvas.ground((x - 0.06, x + 0.06), (1, FAR), (95.0, 90.0, 88.0), rail)
    if street.crossing:
        for x in np.arange(street.sides[0].road + 0.4, street.sides[1].road - 0.6, 1.1):
            canvas.ground((x, x + 0.55), (street.crossing[0] - 3.2, street.crossing[0] - 0.6), white, road)


def _paint_shadows(canvas: Canvas, street: Street) -> None:
    """Darken the ground under what stands on it, away from the sun."""
    mask = np.zeros(canvas.pixels.shape[:2], np.float32)
    reach = np.clip(-canvas.light.sun[[0, 2]] * 1.2, -1, 1)
    for x, z, wide, deep in street.shadows:
        corners = np.array([(x - wide / 2, 0, z), (x - wide / 2, 0, z + deep), (x + wide / 2, 0, z + deep),
                            (x + wide / 2, 0, z)], float)  # fmt: skip
        both = np.concatenate([corners, corners + np.array([reach[0], 0, reach[1]])])
        hull = cv2.convexHull(canvas.camera.project(both).astype(np.float32)).astype(np.int32)
        cv2.fillConvexPoly(mask, hull, 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), canvas.pixels.shape[0] / 120)
    strength = 0.25 + 0.6 * (1 - canvas.light.ambient)
    mask[: round(canvas.camera.horizon)] = 0
    canvas.pixels[..., :3] = canvas.pixels[..., :3] * (1 - strength * mask)[..., None]


# --- the sides -------------------------------------------------------------------------------------------------------


def _line(street: Street, rng: Rng, side: Side) -> None:
    """Line a side with houses, and its garden with walls, fences, hedges and trees."""
    garden, z = side.garden, rng.uniform(-6, 2)
    while z < 85:
        end = z + rng.uniform(6, 16)
        gap = rng.uniform(1, 7) if garden else rng.choice([0.0, rng.uniform(1, 4)], p=[0.8, 0.2])
        if not street.crosses(z, end - z) and rng.random() < (0.75 if garden else 0.96):
            near = side.outer + side.sign * (garden + (rng.uniform(0, 1) if garden else 0))
            x = tuple(sorted((near, near + side.sign * rng.uniform(7, 11))))
            start = max(z, 1.5)
            paint = partial(paint_building, x=x, z=(start, max(end, 3.0)))
            street.add(near, start, paint, outer=abs(near) + 30)
        z = end + gap
    if garden:
        _plant(street, rng, side.outer + side.sign * 0.4, side.sign * garden)


def _plant(street: Street, rng: Rng, x: float, garden: float) -> None:
    """Line a garden that begins at ``x`` and is ``garden`` meters wide, to the left where that is negative."""
    z = rng.uniform(0, 3)
    while z < 60:
        end = z + rng.uniform(5, 14)
        kind = rng.choice([paint_wall, paint_fence, paint_hedge, None], p=[0.28, 0.32, 0.2, 0.2])
        if kind is not None and not street.crosses(z, end - z):
            street.add(x, max(z, 1.2), partial(kind, x=x, z=(max(z, 1.2), end)), outer=abs(x) + 1)
        if rng.random() < 0.6 and not street.crosses(z, 1):
            frame = Frame(x + garden * rng.uniform(0.3, 0.9), rng.uniform(max(z, 2), end))
            street.add(frame.x, frame.z, partial(paint_tree, frame=frame), size=(2.5, 1.5), outer=abs(x) + 4)
        z = end + rng.choice([0.0, 2.0])


def _furnish(street: Street, rng: Rng, side: Side) -> None:
    """Place lamps, lights, signs and trees along a sidewalk."""
    x = side.road + side.sign * 0.45
    for z in np.arange(rng.uniform(3, 9), 62, rng.uniform(6, 11)):
        kind = rng.choice(
            [paint_lamp, paint_sign, paint_traffic_light, paint_tree, None], p=[0.3, 0.25, 0.1, 0.15, 0.2]
        )
        if kind is not None and not street.crosses(z, 1):
            street.add(x, z, partial(kind, frame=Frame(x, z)), size=(0.35, 0.35))
    if street.crossing and street.crossing[0] > 6:
        z = street.crossing[0] - 1.5
        street.add(x, z, partial(paint_traffic_light, frame=Frame(x, z)), size=(0.35, 0.35))


# --- what moves ------------------------------------------------------------------------------------------------------


def _drive(street: Street, rng: Rng) -> None:
    for kind, (least, most) in TRAFFIC.items():
        for _ in range(int(rng.integers(least, most + 1))):
            if kind in ('motorcycle', 'bicycle'):
                _ride(street, rng, kind)
            else:
                _place(street, rng, kind)
    if street.crossing and rng.random() < 0.7:
        kind = str(rng.choice(['car', 'bus', 'truck', 'train'], p=[0.4, 0.2, 0.25, 0.15]))
        z, x = rng.uniform(street.crossing[0] + 2.5, street.crossing[1] - 1.5), rng.uniform(-9, 9)
        frame = Frame(x, z, float(rng.choice([-1, 1])) * np.pi / 2)
        size = (LENGTHS[kind], WIDTHS[kind])
        street.add(x, z, partial(paint_vehicle, kind=kind, frame=frame), size=size)


def _place(street: Street, rng: Rng, kind: str) -> None:
    if kind == 'train' and street.tram is None:
        return
    lane, heading = street.lanes[rng.integers(len(street.lanes))]
    if kind == 'train':
        lane, heading = next(pair for pair in street.lanes if pair[0] == street.tram)
    length = LENGTHS[kind]
    z = street.find_place(rng, lane, length, nearest=9.0 if lane == 0 else 4.0 + length / 2)
    if z is None:
        return
    turn = 0.0 if kind == 'train' else rng.normal(0, 0.02)
    frame = Frame(lane + rng.uniform(-0.25, 0.25) * (kind != 'train'), z + length / 2, heading + turn)
    street.add(frame.x, z, partial(paint_vehicle, kind=kind, frame=frame), size=(WIDTHS[kind], length), outer=lane)


def _ride(street: Street, rng: Rng, kind: str) -> None:
    """Place a two-wheeler between two lanes, or parked on the sidewalk."""
    if rng.random() < 0.75:
        lane, heading = street.lanes[rng.integers(len(street.lanes))]
        lane += float(rng.choice([-1, 1])) * 1.3 if rng.random() < 0.7 else 0.0
        turn, ridden = rng.uniform(-0.9, 0.9), True
    else:
        lane, heading = street.sides[1].road + 0.9, ALONG if rng.random() < 0.5 else TOWARD
        turn, ridden = rng.choice([-1, 1]) * rng.uniform(0.4, 1.5), False
    z = street.find_place(rng, lane, LENGTHS[kind], nearest=4.5)
    if z is not None:
        frame = Frame(lane, z + 0.9, heading + turn, 1.05)
        paint = partial(paint_vehicle, kind=kind, frame=frame, ridden=ridden)
        street.add(lane, z, paint, size=(0.7, 1.5))


def _walk(street: Street, rng: Rng) -> None:
    """Place people on the sidewalks, and a few on the road."""
    for _ in range(int(rng.integers(1, 9))):
        side = street.sides[rng.integers(2)]
        x = side.inner + side.sign * rng.uniform(0.5, max(0.6, side.walk - 0.3))
        heading = float(rng.choice([ALONG, TOWARD])) + rng.normal(0, 0.3)
        nearest = 4.0
        if rng.random() < 0.2:
            x, heading, nearest = (
                rng.uniform(*(side.road for side in street.sides)),
                float(rng.choice([-1, 1])) * np.pi / 2,
                6.0,
            )
        z = street.find_place(rng, x, 0.5, nearest)
        if z is not None:
            frame = Frame(x, z, heading, rng.uniform(0.85, 1.1))
            street.add(x, z, partial(paint_person, frame=frame), size=(0.5, 0.4))
