"""What lines the street: buildings, parks, walls, fences, trees, and the furniture of the sidewalk."""

from functools import partial

from .barriers import paint_fence, paint_wall
from .buildings import Block, paint_building
from .chance import between, happens, pick
from .furniture import paint_bollard, paint_clutter, paint_lamp, paint_sign, paint_traffic_light
from .ground import KERB, Shadow
from .stage import Stage
from .street import Side


def _box_shadow(block: Block) -> Shadow:
    return Shadow(
        tuple(sorted((block.sign * block.front, block.sign * (block.front + block.depth)))), block.z, block.height
    )


def line_street(stage: Stage) -> None:
    """Fill both sides from behind the camera to the end of the street."""
    rng = stage.rng
    wanted = [kind for kind, share in (('wall', 0.5), ('fence', 0.55)) if happens(rng, share)]
    if len(wanted) < 2 and happens(rng, 0.35):
        wanted.append('park')
    order = [1, 0] if happens(rng, 0.5) else [0, 1]
    for turn, index in enumerate(order):
        side = stage.street.sides[index]
        _line_side(stage, side, wanted[turn] if turn < len(wanted) else 'building')


def _line_side(stage: Stage, side: Side, special: str) -> None:
    rng, street = stage.rng, stage.street
    z, first, built = between(rng, -14, -4), True, -99.0
    usual = between(rng, 7, 19)
    while z < street.end:
        if street.crossing and z < street.crossing[1] + 4 and z + 4 > street.crossing[0] - 3:
            z = street.crossing[1] + between(rng, 3.5, 5)
        kind = pick(rng, ('building',) * 8 + ('park', 'wall', 'fence'))
        length = between(rng, 9, 22)
        if first:
            kind, length = 'building', between(rng, 8, 13) - z
        elif special != 'building':
            kind, special, length = special, 'building', between(rng, 13, 22)
        first = False
        end = z + length
        if street.crossing and z < street.crossing[0] < end + 5:
            end = street.crossing[0] - 3.2
        if end - z > 4:
            _segment(stage, side, kind, (z, end), usual * between(rng, 0.65, 1.4), z > built + 0.5)
            built = end if kind == 'building' else built
            if side.find('garden') and kind == 'building':
                _front_garden(stage, side, (z, end))
        z = end + (between(rng, 1.5, 5) if happens(rng, 0.2) else 0)


def _building(stage: Stage, block: Block) -> None:
    stage.add(
        max(block.z[0], 0),
        block.front + 8,
        partial(paint_building, stage.canvas, stage.rng, stage.light, block),
        _box_shadow(block),
    )


def _segment(stage: Stage, side: Side, kind: str, z: tuple[float, float], height: float, free: bool) -> None:
    rng, canvas, light = stage.rng, stage.canvas, stage.light
    if kind == 'building':
        _building(stage, Block(side.sign, side.front, z, height, between(rng, 9, 15), free))
        return
    behind = side.front + between(rng, 5, 9)
    if kind != 'park' and happens(rng, 0.6):
        _building(stage, Block(side.sign, behind, z, height))
    else:
        _grove(stage, side, (side.front + 2, behind + 5), z)
    block = Block(side.sign, side.front, z, between(rng, 1.7, 3.2) if kind == 'wall' else between(rng, 1.1, 2.1), 0.5)
    if kind == 'wall':
        stage.add(z[0], side.front + 0.1, partial(paint_wall, canvas, rng, light, block), _box_shadow(block))
    elif kind == 'fence':
        if happens(rng, 0.5):
            stage.add(
                z[0],
                side.front + 0.2,
                partial(
                    stage.nursery.paint_hedge, canvas, rng, side.sign * (side.front + 1), z, between(rng, 0.7, 1.2)
                ),
            )
        stage.add(z[0], side.front + 0.1, partial(paint_fence, canvas, rng, light, block), _box_shadow(block))
    elif happens(rng, 0.5):
        stage.add(
            z[0],
            side.front + 0.1,
            partial(stage.nursery.paint_hedge, canvas, rng, side.sign * side.front, z, between(rng, 0.9, 2.0)),
        )


def _grove(stage: Stage, side: Side, x: tuple[float, float], z: tuple[float, float]) -> None:
    """A thicket behind, single trees and bushes before it."""
    rng, nursery = stage.rng, stage.nursery
    stage.add(
        z[0],
        x[1] + 3,
        partial(nursery.paint_hedge, stage.canvas, rng, side.sign * (x[1] + 2), z, between(rng, 1.8, 3.5)),
    )
    at = z[0] + 1
    while at < z[1]:
        across = between(rng, *x)
        _tree(stage, side.sign * across, at, x[1], 0, between(rng, 0.9, 1.5))
        if happens(rng, 0.6):
            foot = (side.sign * between(rng, x[0], x[1]), 0.0, at + 1)
            if foot[2] > 2:
                stage.add(
                    foot[2],
                    x[1],
                    partial(
                        nursery.paint_bush, stage.canvas, rng, foot, between(rng, 1.2, 2.6), between(rng, 0.8, 1.7)
                    ),
                )
        at += between(rng, 2.2, 5.5)


def _tree(stage: Stage, x: float, z: float, band: float, y: float, size: float) -> None:
    if z < 3.5 or stage.street.in_crossing(z, 4):
        return
    shadow = Shadow((x - 1.5 * size, x + 1.5 * size), (z - 1.2, z + 1.2), 5.5 * size, 0.75)
    stage.add(z, band, partial(stage.nursery.paint_tree, stage.canvas, stage.rng, (x, y, z), size), shadow)


def _front_garden(stage: Stage, side: Side, z: tuple[float, float]) -> None:
    rng, garden = stage.rng, side.find('garden')
    if garden is None:
        return
    kind = pick(rng, ('hedge', 'fence', 'wall', 'bushes', 'open'))
    block = Block(side.sign, garden.inner, z, between(rng, 0.7, 1.15), 0.3)
    if kind == 'fence':
        stage.add(z[0], garden.middle, partial(paint_fence, stage.canvas, rng, stage.light, block))
    elif kind == 'wall':
        stage.add(z[0], garden.middle, partial(paint_wall, stage.canvas, rng, stage.light, block), _box_shadow(block))
    elif kind == 'hedge':
        stage.add(
            z[0],
            garden.middle,
            partial(stage.nursery.paint_hedge, stage.canvas, rng, side.sign * garden.inner, z, block.height),
        )
    elif kind == 'bushes':
        for _ in range(int((z[1] - z[0]) / 4)):
            foot = (side.sign * garden.middle, 0.0, between(rng, max(z[0], 3), max(z[1], 4)))
            stage.add(
                foot[2],
                garden.middle,
                partial(stage.nursery.paint_bush, stage.canvas, rng, foot, between(rng, 1, 2), between(rng, 0.7, 1.3)),
            )


def furnish(stage: Stage) -> None:
    """Street trees, lamps, signs, traffic lights, bollards, bins."""
    for side in stage.street.sides:
        _street_trees(stage, side)
        _posts(stage, side)
    _signals(stage)


def _street_trees(stage: Stage, side: Side) -> None:
    rng, verge, walk = stage.rng, side.find('verge'), side.find('sidewalk')
    strip = verge if verge is not None else walk
    if strip is None or not happens(rng, 0.75 if verge is not None else 0.3):
        return
    at = strip.middle if verge is not None else strip.inner + 0.7
    z, pitch = between(rng, 6, 14), between(rng, 7, 12)
    size = between(rng, 0.6, 1.0)
    while z < 85:
        _tree(stage, side.sign * at, z, strip.middle, 0 if verge is not None else KERB, size * between(rng, 0.85, 1.15))
        z += pitch * between(rng, 0.9, 1.2)


def _posts(stage: Stage, side: Side) -> None:
    rng, canvas, light, walk = stage.rng, stage.canvas, stage.light, side.find('sidewalk')
    if walk is None:
        return
    x, band = side.sign * (walk.inner + 0.5), walk.middle

    def stand(z: float, paint: partial, high: float, wide: float = 0.1, at: float = x) -> None:
        if not stage.street.in_crossing(z, 1):
            stage.add(
                z, band, partial(paint, (at, KERB, z)), Shadow((at - wide, at + wide), (z - wide, z + wide), high)
            )

    if happens(rng, 0.8):
        z, pitch = between(rng, 6, 16), between(rng, 16, 24)
        while z < 80:
            stand(z, partial(_lamp, stage, -side.sign), 6)
            z += pitch
    for _ in range(int(rng.integers(1, 4))):
        stand(between(rng, 6.5, 24), partial(paint_sign, canvas, rng, light), 2.6)
    if happens(rng, 0.22):
        z = between(rng, 5, 9)
        for i in range(7):
            stand(z + 1.7 * i, partial(paint_bollard, canvas, rng, light), 0.9)
    if happens(rng, 0.35):
        stand(between(rng, 7, 22), partial(paint_clutter, canvas, rng, light), 1.2, 0.4, side.sign * (walk.outer - 0.6))


def _lamp(stage: Stage, inward: float, foot: tuple[float, float, float]) -> None:
    paint_lamp(stage.canvas, stage.rng, stage.light, foot, inward)


def _signals(stage: Stage) -> None:
    rng, street = stage.rng, stage.street
    state = pick(rng, (0, 0, 1, 2, 2))
    places: list[tuple[Side, float]] = []
    if street.crossing is not None and happens(rng, 0.85):
        near, far = street.crossing
        places = [(side, z) for side in street.sides for z in (near - 2.8, far + 2) if happens(rng, 0.85)]
    elif happens(rng, 0.5):
        z = between(rng, 8, 18)
        places = [(side, z) for side in street.sides]
    for side, z in places:
        x = (
            side.sign * (side.edge + 0.45)
            if side.strips[0].kind != 'tram'
            else side.sign * (side.strips[0].outer + 0.4)
        )
        foot = (x, KERB, z)
        stage.add(z, abs(x), partial(paint_traffic_light, stage.canvas, rng, stage.light, foot, -side.sign, state))
