"""What moves or parks: cars, trucks, buses, trams, two-wheelers, people."""

import math
from collections.abc import Callable
from functools import partial

from .chance import between, happens, pick
from .ground import KERB, Shadow
from .people import paint_bicycle, paint_motorcycle, paint_person
from .stage import Stage
from .street import Side
from .vehicles import CARS, paint_bus, paint_car, paint_tram, paint_truck

SHAPES = tuple(CARS.values())
Painter = Callable[..., None]


def _shadow(x: float, z: float, half: float, length: float, height: float) -> Shadow:
    return Shadow((x - half, x + half), (z, z + length), height)


def _car(stage: Stage, x: float, z: float, heading: float, band: float) -> None:
    shape = pick(stage.rng, SHAPES)
    turned = abs(math.sin(heading)) > 0.7
    across, along = (shape.length / 2, 2 * shape.half) if turned else (shape.half, shape.length)
    paint = partial(paint_car, stage.canvas, stage.rng, stage.light, x, z + along / 2, heading, shape)
    stage.add(z, band, paint, _shadow(x, z, across * 0.95, along, 1.2))


def drive(stage: Stage) -> None:
    """Traffic in the lanes, with the large vehicles placed first, then parked cars, trams and the cross street."""
    rng, street = stage.rng, stage.street
    taken: dict[int, list[tuple[float, float]]] = {}
    for paint, share in ((paint_bus, 0.44), (paint_truck, 0.46)):
        if happens(rng, share):
            _large(stage, paint, taken)
    for index, (x, way) in enumerate(street.lanes):
        z = between(rng, 8, 26) if way > 0 else between(rng, 5, 20)
        while z < 75:
            free = all(z + 6 < low or z > high + 2 for low, high in taken.get(index, []))
            if free and not street.in_crossing(z, 4.5):
                heading = (0.0 if way > 0 else math.pi) + between(rng, -0.03, 0.03)
                _car(stage, x + between(rng, -0.3, 0.3), z, heading, 0)
            z += between(rng, 7, 26)
    for side in street.sides:
        _park(stage, side)
        _tram(stage, side)
    if street.crossing is not None and happens(rng, 0.6):
        near, far = street.crossing
        for _ in range(int(rng.integers(1, 3))):
            lane, way = pick(rng, ((near + 1, 1), (far - 3.5, -1)))
            _car(stage, between(rng, -14, 14), lane, way * math.pi / 2, 0)


def _large(stage: Stage, paint: Painter, taken: dict[int, list[tuple[float, float]]]) -> None:
    """A bus or a truck: in a lane, or side-on in the cross street."""
    rng, street = stage.rng, stage.street
    if street.crossing is not None and street.crossing[0] < 26 and happens(rng, 0.3):
        z, x = street.crossing[0] + 1.2, between(rng, -9, 9)
        stage.add(
            z,
            0,
            partial(paint, stage.canvas, rng, stage.light, x, z + 1.2, pick(rng, (-1, 1)) * math.pi / 2),
            _shadow(x, z, 5, 2.5, 3),
        )
        return
    lanes = [i for i in range(len(street.lanes)) if i not in taken]
    if not lanes:
        return
    index = pick(rng, lanes)
    x, way = street.lanes[index]
    z = between(rng, 10, 19) if abs(x) < 1.5 else between(rng, 8, 18)
    if street.crossing is not None and street.crossing[0] - 13 < z < street.crossing[1] + 3:
        z = max(street.crossing[0] - 14, 8.5)
    taken[index] = [(z - 2, z + 13)]
    stage.add(
        z,
        0,
        partial(paint, stage.canvas, rng, stage.light, x, z, 0.0 if way > 0 else math.pi),
        _shadow(x, z, 1.25, 10, 3.2),
    )


def _park(stage: Stage, side: Side) -> None:
    rng = stage.rng
    if side.parking is None:
        return
    z, dense = between(rng, 3.5, 9), between(rng, 0.45, 0.95)
    while z < 70:
        if happens(rng, dense) and not stage.street.in_crossing(z, 6):
            heading = 0.0 if side.sign > 0 or happens(rng, 0.2) else math.pi
            _car(stage, side.sign * side.parking, z, heading + between(rng, -0.04, 0.04), 0)
        z += between(rng, 5.4, 6.6)


def _tram(stage: Stage, side: Side) -> None:
    strip, rng = side.find('tram'), stage.rng
    if strip is None or not happens(rng, 0.88):
        return
    z = between(rng, 8.5, 19)
    heading = 0.0 if side.sign > 0 else math.pi
    x = side.sign * strip.middle
    stage.add(
        z,
        strip.middle,
        partial(paint_tram, stage.canvas, rng, stage.light, x, z, heading),
        _shadow(x, z, 1.25, 22, 3.3),
    )


def ride(stage: Stage) -> None:
    """Cyclists and motorcyclists in the road, two-wheelers parked on the sidewalk."""
    rng = stage.rng
    for paint, share in ((paint_bicycle, 0.62), (paint_motorcycle, 0.42)):
        if happens(rng, share):
            for _ in range(1 + happens(rng, 0.3)):
                _rider(stage, paint)
    for paint, share in ((paint_bicycle, 0.42), (paint_motorcycle, 0.36)):
        if happens(rng, share):
            _rack(stage, paint)


def _rider(stage: Stage, paint: Painter) -> None:
    rng, street = stage.rng, stage.street
    side = pick(rng, street.sides)
    z = between(rng, 5.5, 14)
    if happens(rng, 0.35):
        x, heading = between(rng, -0.7, 0.7) * z * 0.6, pick(rng, (-1, 1)) * (math.pi / 2 + between(rng, -0.5, 0.5))
        x = min(max(x, -street.left.edge + 1), street.right.edge - 1)
    else:
        lane = side.edge - 0.75 - (2.3 if side.parking is not None else 0)
        x, heading = side.sign * lane, (0.0 if side.sign > 0 else math.pi) + between(rng, -0.35, 0.35)
    stage.add(
        z, 0, partial(paint, stage.canvas, rng, stage.light, (x, 0.0, z), heading, True), _shadow(x, z, 0.3, 1.5, 1.6)
    )


def _rack(stage: Stage, paint: Painter) -> None:
    rng = stage.rng
    side = pick(rng, stage.street.sides)
    walk = side.find('sidewalk')
    if walk is None:
        return
    z, heading = between(rng, 6.5, 12), between(rng, 0.5, 1.3) * pick(rng, (-1, 1))
    x = side.sign * (walk.inner + 0.9)
    for i in range(int(rng.integers(2, 5))):
        at = z + i * between(rng, 0.8, 1.2)
        if not stage.street.in_crossing(at, 1):
            stage.add(
                at,
                walk.middle,
                partial(paint, stage.canvas, rng, stage.light, (x, KERB, at), heading + between(rng, -0.1, 0.1), False),
                _shadow(x, at, 0.6, 0.3, 0.9),
            )


def walk(stage: Stage) -> None:
    """People on the sidewalks, alone or in groups, and on the zebra crossing."""
    rng, street = stage.rng, stage.street
    for side in street.sides:
        strip = side.find('sidewalk')
        if strip is None:
            continue
        for _ in range(int(rng.integers(1, 6))):
            z, heading = (
                4.8 + 26 * rng.random() ** 1.8,
                pick(rng, (0.0, math.pi, math.pi, 1.5, -1.5)) + between(rng, -0.4, 0.4),
            )
            for k in range(pick(rng, (1, 1, 1, 2, 3))):
                x = side.sign * (between(rng, strip.inner + 0.9, strip.outer - 0.4))
                _person(stage, x, KERB, z + 0.5 * k, heading, strip.middle)
    if street.crossing is not None:
        for _ in range(int(rng.integers(0, 5))):
            z = street.crossing[0] - between(rng, 0.8, 2.2)
            x = between(rng, -street.left.edge, street.right.edge)
            _person(stage, x, 0, z, pick(rng, (-1, 1)) * math.pi / 2, 0)
    elif happens(rng, 0.25):
        z = between(rng, 9, 18)
        x = between(rng, -0.8, 0.8) * min(street.left.edge, street.right.edge)
        _person(stage, x, 0, z, pick(rng, (-1, 1)) * math.pi / 2, 0)


def _person(stage: Stage, x: float, y: float, z: float, heading: float, band: float) -> None:
    if y > 0 and stage.street.in_crossing(z):
        y = 0
    stage.add(
        z,
        band,
        partial(paint_person, stage.canvas, stage.rng, stage.light, (x, y, z), heading),
        _shadow(x, z, 0.25, 0.3, 1.7),
    )
