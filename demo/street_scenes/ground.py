"""The ground: road, markings, sidewalks, verges and rails, and the shadows that lie on them."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from .canvas import NEAR, Camera, Canvas, clip_near
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, varied
from .labels import RAIL_TRACK, ROAD, SIDEWALK, TERRAIN
from .light import Light
from .street import FAR, LANE, Side, Street, Strip

ASPHALT: tuple[Colour, ...] = (
    (84, 82, 82),
    (104, 102, 100),
    (124, 122, 120),
    (70, 68, 68),
    (108, 112, 120),
    (132, 128, 122),
)
PAVING: tuple[Colour, ...] = (
    (168, 170, 174),
    (150, 156, 166),
    (140, 150, 178),
    (186, 190, 196),
    (150, 148, 146),
    (128, 140, 160),
)
GRASS: dict[str, tuple[Colour, ...]] = {
    'spring': ((62, 140, 98), (74, 152, 120)),
    'summer': ((58, 120, 84), (84, 148, 150), (60, 128, 104)),
    'autumn': ((66, 112, 122), (70, 118, 104)),
    'winter': ((98, 122, 126), (120, 140, 146)),
}
SOIL: Colour = (92, 116, 142)
KERB = 0.13  # metres that a sidewalk stands above the road


def quad(
    canvas: Canvas, x: tuple[float, float], z: tuple[float, float], colour: Colour, surface: int, y: float = 0.0
) -> None:
    """A rectangle on the ground, or at height y."""
    canvas.face([(x[0], y, z[0]), (x[0], y, z[1]), (x[1], y, z[1]), (x[1], y, z[0])], colour, surface)


def paint_ground(canvas: Canvas, rng: Rng, light: Light, street: Street) -> None:
    """Everything flat, from the terrain that lies under all to the markings."""
    grass = varied(rng, pick(rng, GRASS[light.season]), 0.12)
    if happens(rng, 0.15):
        grass = mixed(grass, SOIL, 0.7)
    terrain, road, walk = canvas.surface(TERRAIN), canvas.surface(ROAD), canvas.surface(SIDEWALK)
    asphalt = varied(rng, pick(rng, ASPHALT), 0.08)
    if light.wet:
        asphalt = scaled(asphalt, 0.72)
    paving = varied(rng, pick(rng, PAVING), 0.07)
    quad(canvas, (-FAR, FAR), (NEAR, FAR), grass, terrain)
    for side in street.sides:
        for strip in reversed(side.strips):
            _paint_strip(canvas, rng, side, strip, grass, paving, terrain, walk)
    quad(canvas, (-street.left.edge, street.right.edge), (NEAR, FAR), asphalt, road)
    _wear(canvas, rng, street, asphalt, road)
    _lane_marks(canvas, rng, street, asphalt, road)
    if street.crossing:
        _cross_street(canvas, rng, street, asphalt, paving, road, walk)
    for _ in range(int(rng.integers(1, 4))):  # manholes
        x, z = between(rng, -street.left.edge + 0.5, street.right.edge - 0.5), between(rng, 4, 26)
        ring = [(x + 0.36 * np.cos(t), 0.0, z + 0.36 * np.sin(t)) for t in np.linspace(0, 6, 10)]
        canvas.face(ring, scaled(asphalt, 0.66), road)


def _paint_strip(
    canvas: Canvas, rng: Rng, side: Side, strip: Strip, grass: Colour, paving: Colour, terrain: int, walk: int
) -> None:
    s = side.sign
    x = (s * strip.inner, s * strip.outer)
    if strip.kind == 'sidewalk':
        quad(canvas, x, (NEAR, FAR), paving, walk, KERB)
        joint, kerb = scaled(paving, between(rng, 0.8, 0.92)), scaled(paving, between(rng, 0.92, 1.15))
        pitch = pick(rng, (1.0, 1.5, 3.0))
        for i in range(2, int(24 / pitch)):
            quad(canvas, x, (i * pitch, i * pitch + 0.05), joint, walk, KERB)
        for part in np.arange(1, 4) / 4 * (strip.outer - strip.inner):
            inner = s * (strip.inner + part)
            quad(canvas, (inner, inner + 0.04), (NEAR, 30), joint, walk, KERB)
        quad(canvas, (x[0], x[0] + s * 0.2), (NEAR, FAR), scaled(kerb, 1.08), walk, KERB)
        canvas.face([(x[0], 0, NEAR), (x[0], 0, FAR), (x[0], KERB, FAR), (x[0], KERB, NEAR)], scaled(kerb, 0.74), walk)
    elif strip.kind == 'tram':
        bed = pick(rng, ((104, 108, 116), (88, 92, 100)))
        track = canvas.surface(RAIL_TRACK)
        quad(canvas, x, (NEAR, FAR), bed, track)
        for i in range(1, 26):
            quad(canvas, x, (i * 1.2, i * 1.2 + 0.35), scaled(bed, 0.8), track)
        for rail in (strip.middle - 0.72, strip.middle + 0.72):
            quad(canvas, (s * rail - 0.07, s * rail + 0.07), (NEAR, FAR), (176, 170, 166), track)
    else:
        lawn = varied(rng, grass, 0.1)
        quad(canvas, x, (NEAR, FAR), lawn, terrain)
        for _ in range(14):  # tufts, bare soil, leaves
            z = between(rng, 3, 30)
            a, w = between(rng, strip.inner, strip.outer - 0.3), between(rng, 0.2, 0.8)
            patch = (s * a, s * min(a + w, strip.outer))
            quad(canvas, patch, (z, z + 2 * w), mixed(lawn, varied(rng, SOIL, 0.2), between(rng, 0.05, 0.4)), terrain)


def _wear(canvas: Canvas, rng: Rng, street: Street, asphalt: Colour, road: int) -> None:
    """Wheel tracks, repaired patches, cracks and sometimes cobbles."""
    if happens(rng, 0.13):
        for i in range(4, 44):
            z = 0.5 * i
            quad(canvas, (-street.left.edge, street.right.edge), (z, z + 0.07), scaled(asphalt, 0.9), road)
        return
    for x, _ in street.lanes:
        tone = scaled(asphalt, between(rng, 0.9, 1.04))
        for track in (x - 0.8, x + 0.8):
            quad(canvas, (track - 0.25, track + 0.25), (NEAR, FAR), tone, road)
    for _ in range(int(rng.integers(0, 5))):
        x, z = between(rng, -street.left.edge, street.right.edge - 1.6), between(rng, 3, 30)
        quad(
            canvas,
            (x, x + between(rng, 0.6, 1.6)),
            (z, z + between(rng, 1, 7)),
            scaled(asphalt, between(rng, 0.8, 1.15)),
            road,
        )
    for _ in range(int(rng.integers(0, 4))):
        x, z = between(rng, -street.left.edge, street.right.edge), between(rng, 3, 12)
        for _ in range(6):
            to = (x + between(rng, -0.5, 0.5), z + between(rng, 0.1, 0.9))
            canvas.line((x, 0, z), (to[0], 0, to[1]), 0.03, scaled(asphalt, 0.7), road, 0.5)
            x, z = to


def _lane_marks(canvas: Canvas, rng: Rng, street: Street, asphalt: Colour, road: int) -> None:
    paint = mixed((236, 238, 238), asphalt, between(rng, 0.0, 0.35))
    yellow = mixed((70, 190, 232), asphalt, between(rng, 0.05, 0.3))
    centre = yellow if happens(rng, 0.3) else paint
    period, length, start = between(rng, 6, 11), between(rng, 2.5, 4.5), between(rng, 0, 6)
    xs = sorted(x for x, _ in street.lanes)
    for a, b in pairwise(xs):
        x = 0.5 * (a + b)
        same = {d for at, d in street.lanes if at in (a, b)}
        solid = len(same) == 2 and happens(rng, 0.35)
        colour = centre if len(same) == 2 else paint
        if solid:
            quad(canvas, (x - 0.07, x + 0.07), (NEAR, FAR), colour, road)
            continue
        for i in range(12):
            quad(canvas, (x - 0.075, x + 0.075), (start + i * period, start + i * period + length), colour, road)
    for side, x in ((street.left, xs[0] - LANE / 2), (street.right, xs[-1] + LANE / 2)):
        if side.bike_lane:
            red = mixed((78, 86, 158), asphalt, between(rng, 0.1, 0.5))
            if happens(rng, 0.6):
                quad(canvas, (x, x + side.sign * 1.5), (NEAR, FAR), red, road)
            quad(canvas, (x - 0.06, x + 0.06), (NEAR, FAR), paint, road)
        elif side.parking is not None and happens(rng, 0.5):
            quad(canvas, (x - 0.06, x + 0.06), (NEAR, FAR), paint, road)
    for x, direction in street.lanes:
        if happens(rng, 0.25):
            _arrow(canvas, x, between(rng, 6, 15), direction, paint, road)


def _arrow(canvas: Canvas, x: float, z: float, direction: int, paint: Colour, road: int) -> None:
    quad(canvas, (x - 0.08, x + 0.08), (z, z + 2.4), paint, road)
    tip, base = (z + 4, z + 2.3) if direction > 0 else (z - 1.6, z + 0.1)
    canvas.face([(x - 0.35, 0, base), (x, 0, tip), (x + 0.35, 0, base)], paint, road)


def _cross_street(
    canvas: Canvas, rng: Rng, street: Street, asphalt: Colour, paving: Colour, road: int, walk: int
) -> None:
    near, far = street.crossing or (0.0, 0.0)
    quad(canvas, (-FAR, FAR), (near - 2.6, far + 2.6), paving, walk, KERB)
    quad(canvas, (-street.left.edge - 4, street.right.edge + 4), (near - 3, near), asphalt, road)
    quad(canvas, (-street.left.edge, street.right.edge), (far, far + 3), asphalt, road)
    quad(canvas, (-FAR, FAR), (near, far), scaled(asphalt, 1.02), road)
    for side in street.sides:  # the corners of the sidewalk
        x = (side.sign * side.edge, side.sign * FAR)
        quad(canvas, x, (near - 2.6, near), paving, walk, KERB)
    paint = mixed((238, 240, 240), asphalt, between(rng, 0, 0.25))
    for z in (near - 2.4, far + 0.4):
        for x in np.arange(-street.left.edge + 0.3, street.right.edge - 0.4, 1.0):
            quad(canvas, (x, x + 0.5), (z, z + 2.0), paint, road)
    right = [x for x, d in street.lanes if d > 0]
    quad(canvas, (min(right) - LANE / 2, max(right) + LANE / 2), (near - 3.6, near - 3.2), paint, road)


@dataclass(frozen=True)
class Shadow:
    """A box that throws a shadow: its footprint in x and z, and its height; `density` below 1 for foliage."""

    x: tuple[float, float]
    z: tuple[float, float]
    height: float
    density: float = 1.0


def shadow_map(camera: Camera, step: float, size: tuple[int, int], light: Light, shadows: list[Shadow]) -> np.ndarray:
    """The share of light lost at each pixel of the ground, (H, W) float32: cast shadows, and the dark below things."""
    h, w = size
    cast, contact = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    dx, dz = -light.sun[0] / light.sun[1], -light.sun[2] / light.sun[1]
    lost = light.strength * light.sun[1] / (light.ambient + light.strength * light.sun[1])
    deep = min(0.62, lost * 1.25)
    for shadow in sorted(shadows, key=lambda s: s.density):  # so that the darker of two lies on top
        base = [(x, 0.0, z) for x in shadow.x for z in shadow.z]
        if shadow.height < 5:
            _fill(contact, camera, step, base, 0.45 * shadow.density)
        if lost > 0.02:
            top = [(x + dx * shadow.height, 0.0, z + dz * shadow.height) for x, _, z in base]
            _fill(cast, camera, step, base + top, deep * shadow.density)
    soft = max(1, h // 64) | 1
    return np.minimum(1 - (1 - cast) * (1 - cv2.blur(contact, (soft, soft))), 0.8)


def _fill(
    target: np.ndarray, camera: Camera, step: float, points: list[tuple[float, float, float]], value: float
) -> None:
    flat = cv2.convexHull(np.array([(p[0], p[2]) for p in points], np.float32))[:, 0]
    ahead = clip_near([(float(x), 0.0, float(z)) for x, z in flat], 2 * NEAR)
    if len(ahead) < 3:
        return
    corners = np.array([camera.project(p) for p in ahead]) / step
    cv2.fillPoly(target, [np.rint(np.clip(corners, -3e4, 3e4) * 8).astype(np.int32)], value, shift=3)
