"""Buildings, and the skyline behind them."""

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas
from .chance import Colour, Rng, between, happens, mixed, pick, scaled, varied
from .labels import BUILDING, VEGETATION
from .light import Light

WALLS: tuple[Colour, ...] = (
    (92, 112, 168),
    (80, 92, 142),
    (118, 150, 196),
    (150, 190, 222),
    (176, 206, 228),
    (196, 208, 216),
    (214, 220, 224),
    (150, 158, 166),
    (164, 176, 150),
    (178, 196, 172),
    (150, 170, 214),
    (196, 178, 160),
    (126, 140, 150),
    (104, 168, 214),
    (188, 160, 196),
    (120, 128, 170),
)
FRAMES: tuple[Colour, ...] = ((232, 234, 236), (216, 222, 226), (60, 64, 70), (70, 96, 120), (150, 156, 160))
AWNINGS: tuple[Colour, ...] = (
    (50, 50, 180),
    (60, 130, 60),
    (160, 90, 50),
    (60, 170, 220),
    (90, 60, 120),
    (220, 222, 224),
    (40, 40, 44),
)
ROOFS: tuple[Colour, ...] = ((62, 76, 150), (70, 84, 122), (84, 82, 80), (66, 62, 60), (58, 70, 96), (120, 146, 120))
WARM: Colour = (120, 205, 252)  # light behind a window


@dataclass(frozen=True)
class Style:
    """How a facade is built."""

    wall: Colour
    frame: Colour
    kind: str  # 'plaster', 'brick', 'stone', 'panel', 'glass', 'ribbon', 'timber'
    bay: float  # metres between window axes
    floor: float  # metres between floors
    window: tuple[float, float]  # share of the cell that glass covers, across and up
    balcony: bool
    shutters: Colour | None
    shop: bool


def draw_style(rng: Rng) -> Style:
    """Choose one facade."""
    kind = pick(rng, ('plaster', 'plaster', 'brick', 'brick', 'stone', 'panel', 'glass', 'ribbon', 'timber'))
    wall = pick(rng, WALLS[:3] if kind == 'brick' else WALLS[3:])
    if kind in ('panel', 'stone', 'ribbon'):
        wall = mixed(wall, (170, 174, 178), between(rng, 0.3, 0.9))
    size = {'glass': (0.93, 0.9), 'ribbon': (1.0, between(rng, 0.42, 0.55))}.get(
        kind, (between(rng, 0.32, 0.6), between(rng, 0.45, 0.68))
    )
    return Style(
        wall=varied(rng, wall, 0.12),
        frame=pick(rng, FRAMES),
        kind=kind,
        bay=between(rng, 1.5, 2.0) if kind == 'glass' else between(rng, 2.0, 3.6),
        floor=between(rng, 2.9, 3.7),
        window=size,
        balcony=kind in ('plaster', 'panel') and happens(rng, 0.35),
        shutters=varied(rng, pick(rng, AWNINGS), 0.2) if kind in ('plaster', 'timber') and happens(rng, 0.4) else None,
        shop=happens(rng, 0.5),
    )


def _cell(style: Style, ppm: float) -> tuple[np.ndarray, np.ndarray]:
    """One bay of one floor: its picture (h, w, 3), and where its glass is."""
    h, w = max(6, round(style.floor * ppm)), max(5, round(style.bay * ppm))
    cell = np.full((h, w, 3), style.wall, np.float32)
    if style.kind == 'brick':
        cell[:: max(2, h // 12)] *= 0.88
    elif style.kind == 'panel':
        cell[: max(1, h // 18)] *= 0.8
        cell[:, : max(1, w // 24)] *= 0.82
    elif style.kind == 'timber':
        beam = scaled((60, 74, 96), 0.8)
        cell[: max(1, h // 9)] = beam
        cell[:, : max(1, w // 9)] = beam
        cv2.line(cell, (0, h), (w // 4, 0), beam, max(1, w // 14))
    elif style.kind == 'stone':
        cell[:: max(2, h // 5)] *= 0.9
    ww, wh = style.window[0] * w, style.window[1] * h
    x0, x1 = round((w - ww) / 2), max(round((w + ww) / 2), round((w - ww) / 2) + 2)
    y0, y1 = round((h - wh) * 0.42), round((h - wh) * 0.42 + wh)
    rim = max(1, round(0.09 * ppm))
    if style.shutters is not None:
        cell[y0:y1, max(0, x0 - rim - w // 7) : x1 + rim + w // 7] = style.shutters
    if style.kind not in ('glass', 'ribbon'):
        cell[max(0, y0 - rim) : y1 + rim, max(0, x0 - rim) : x1 + rim] = style.frame
        cell[y1 : y1 + 2 * rim, max(0, x0 - 2 * rim) : x1 + 2 * rim] = scaled(style.frame, 0.85)
    glass = np.zeros((h, w), bool)
    glass[y0:y1, x0:x1] = True
    if w > 12:
        glass[y0:y1, (x0 + x1) // 2 : (x0 + x1) // 2 + max(1, rim // 2)] = False
    if style.balcony:
        slab = y1 + rim
        cell[slab : slab + max(1, h // 14)] = scaled(style.frame, 0.75)
        cell[max(0, slab - h // 4) : slab : 2, w // 8 : -w // 8] = scaled(style.frame, 0.9)
    return cell, glass


def facade(canvas: Canvas, rng: Rng, light: Light, style: Style, size: tuple[float, float], ppm: float) -> np.ndarray:
    """The texture of a facade, (h, w, 3) float32 at ppm pixels a metre; `size` is width and height in metres."""
    width, height = size
    cell, glass = _cell(style, ppm)
    h, w = glass.shape
    base = (4.0 if style.shop else 3.4) * ppm
    floors, bays = max(1, round((height * ppm - base) / h)), max(1, round(width * ppm / w))
    picture = np.tile(cell, (floors, bays, 1))
    pane = np.tile(glass, (floors, bays))
    gain = rng.uniform(0.6, 1.5, (floors, bays, 1)).astype(np.float32) * np.float32(light.glass)
    lit = rng.random((floors, bays)) < (0.42 if light.lamps_on else 0.02)
    curtain = rng.random((floors, bays)) < 0.22
    gain[curtain] = (180, 186, 190)
    gain[lit] = WARM
    panes = np.repeat(np.repeat(gain, h, 0), w, 1)
    if style.kind in ('glass', 'ribbon'):  # large panes mirror the sky, more so higher up
        up = np.linspace(0.6, 0.1, floors * h, dtype=np.float32)[:, None, None]
        panes += (np.float32(light.sky_low) - panes) * up * between(rng, 0.5, 1)
    np.copyto(picture, panes, where=pane[..., None])
    picture = np.concatenate([picture, _ground_floor(rng, light, style, max(3, round(base)), bays * w, ppm)])
    rows = picture.shape[0]
    picture[: max(1, round(0.5 * ppm))] *= 0.82 if style.kind != 'glass' else 1.1
    picture *= 1 + 0.07 * canvas.noise(rng, rows, bays * w)[..., None]
    picture[-round(rows * 0.2) :] *= np.linspace(1, 0.86, round(rows * 0.2), dtype=np.float32)[:, None, None]
    return picture


def _ground_floor(rng: Rng, light: Light, style: Style, rows: int, columns: int, ppm: float) -> np.ndarray:
    strip = np.full((rows, columns, 3), scaled(style.wall, between(rng, 0.75, 1)), np.float32)
    sill, x = max(1, round(0.5 * ppm)), 0
    while x < columns:
        wide = round(between(rng, 2.5, 6) * ppm) if style.shop else round(between(rng, 1.6, 3) * ppm)
        part = strip[:, x : min(columns, x + max(3, wide))]
        gap = max(1, round(0.25 * ppm))
        inside = part[:, gap:-gap] if part.shape[1] > 3 * gap else part[:, :0]
        window = varied(
            rng, WARM if light.lamps_on or happens(rng, 0.15) else mixed(light.glass, (120, 130, 140), 0.2), 0.2
        )
        if style.shop:
            inside[rows // 3 : rows - sill] = window
            for _ in range(3):  # what stands in the window
                a, b = int(rng.random() * max(1, inside.shape[1])), round(between(rng, 0.2, 0.7) * ppm)
                inside[rows // 2 : rows - sill, a : a + b] = varied(rng, pick(rng, AWNINGS), 0.3)
            inside[rows // 9 : rows // 3] = varied(rng, pick(rng, AWNINGS), 0.15)
            if happens(rng, 0.4):
                inside[rows // 4 : rows // 2, ::2] = varied(rng, pick(rng, AWNINGS), 0.1)
        elif happens(rng, 0.25):
            inside[rows // 4 :] = varied(rng, pick(rng, AWNINGS[:-2]), 0.3)  # a door
            inside[rows // 4 : rows // 3] = window
        else:
            inside[rows // 4 : rows - 2 * sill] = style.frame
            inside[rows // 4 + 1 : rows - 2 * sill - 1, 1:-1] = window
        x += max(3, wide)
    return strip


def shaded(texture: np.ndarray, gain: float) -> np.ndarray:
    """The texture under a light of this gain, as uint8."""
    return np.clip(texture * gain, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Block:
    """A building or wall beside the street: it fills |x| >= front on one side, from z[0] to z[1]."""

    sign: int
    front: float
    z: tuple[float, float]
    height: float
    depth: float = 14.0
    free: bool = True  # nothing is built against the end that faces the camera


def pixels_per_metre(canvas: Canvas, z: float) -> float:
    """The texture resolution that suits depth z."""
    return min(max(canvas.camera.focal / z * 1.1, 3.0), 15.0 * canvas.detail)


def first_seen(canvas: Canvas, block: Block) -> float:
    """The depth from which on the block's face is in the picture."""
    return max(block.z[0], 1.5, 0.97 * block.front / canvas.view)


def paint_building(canvas: Canvas, rng: Rng, light: Light, block: Block) -> None:
    """The facade along the street, the gable that faces the camera, and the roof."""
    style, s = draw_style(rng), block.sign
    h, x = block.height, s * block.front
    near, far = first_seen(canvas, block), block.z[1]
    roof, rise = _draw_roof(rng, style)
    if near >= far:
        return
    if block.z[0] >= near:
        _paint_gable(canvas, rng, light, block, style, rise)
    street = canvas.surface(BUILDING, side=x)
    if rise > 0 and h - rise / (0.5 * block.depth) * block.front < canvas.camera.eye:
        _paint_slope(canvas, rng, light, block, roof, rise)
    ppm = pixels_per_metre(canvas, 0.7 * near + 0.3 * far)
    texture = shaded(facade(canvas, rng, light, style, (far - near, h), ppm), light.on(-s, 0, 0))
    canvas.textured([(x, h, near), (x, h, far), (x, 0, far), (x, 0, near)], texture, street)
    eaves = scaled(style.frame if rise == 0 else roof, 0.9 * light.on(-s, 0, 0))
    canvas.lateral(x - s * 0.35, (h, h + 0.4), block.z, eaves, street)


def _paint_gable(canvas: Canvas, rng: Rng, light: Light, block: Block, style: Style, rise: float) -> None:
    """The end that faces the camera; windows only where no neighbour stands against it."""
    x, back = block.sign * block.front, block.sign * (block.front + block.depth)
    h, z = block.height, block.z[0]
    end, gain = canvas.surface(BUILDING, z), light.on(0, 0, -1)
    if rise > 0:
        canvas.face([(x, h, z), (0.5 * (x + back), h + rise, z), (back, h, z)], scaled(style.wall, gain), end)
    if block.free:
        picture = facade(canvas, rng, light, style, (block.depth, h), pixels_per_metre(canvas, z) * 0.8)
        canvas.textured([(x, h, z), (back, h, z), (back, 0, z), (x, 0, z)], shaded(picture, gain), end)
    else:
        canvas.frontal((x, back), (0, h), z, scaled(style.wall, gain), end)


def _paint_slope(canvas: Canvas, rng: Rng, light: Light, block: Block, roof: Colour, rise: float) -> None:
    """The side of the roof that slopes to the street, with chimneys."""
    s, h, (z0, z1) = block.sign, block.height, block.z
    x = s * block.front
    ridge = x + s * 0.5 * block.depth
    surface = canvas.surface(BUILDING, 0.5 * (max(z0, 2) + z1))
    slope = [(x, h, z0), (x, h, z1), (ridge, h + rise, z1), (ridge, h + rise, z0)]
    canvas.face(slope, scaled(roof, light.on(-0.6 * s, 0.8, 0)), surface)
    brick = scaled((84, 96, 140), light.on(-s, 0, 0))
    for z in np.arange(max(z0, 4) + 2, z1, 4.5):
        if happens(rng, 0.6):
            canvas.lateral(x + s * 0.4 * block.depth, (h + rise * 0.75, h + rise * 1.1), (z, z + 1), brick, surface)


def _draw_roof(rng: Rng, style: Style) -> tuple[Colour, float]:
    if style.kind in ('glass', 'ribbon', 'panel') or happens(rng, 0.25):
        return style.wall, 0.0
    return varied(rng, pick(rng, ROOFS), 0.15), between(rng, 2.5, 6.0)


def paint_skyline(canvas: Canvas, rng: Rng, light: Light, end: float) -> None:
    """Far houses, towers and tree tops along the horizon."""
    cam, x = canvas.camera, -1.1 * end
    while x < 1.1 * end:
        wide = between(rng, 8, 26)
        z = end * between(rng, 1.0, 1.5)
        if happens(rng, 0.68):
            colour = varied(rng, pick(rng, WALLS), 0.15)
            high = between(rng, 6, 22) if happens(rng, 0.85) else between(rng, 25, 42)
            surface, style = canvas.surface(BUILDING, z), draw_style(rng)
            colour = scaled(colour, light.on(0, 0, -1))
            canvas.face([(x, 0, z), (x, high, z), (x + wide, high, z), (x + wide, 0, z)], colour, surface)
            if happens(rng, 0.5):
                canvas.face(
                    [(x, high, z), (x + wide / 2, high + 4, z), (x + wide, high, z)],
                    scaled(pick(rng, ROOFS), 0.9),
                    surface,
                )
            dark = mixed(colour, WARM if light.lamps_on else light.glass, 0.55)
            for y in np.arange(2, high - 1.5, max(style.floor, 2.4 * z / cam.focal)):
                canvas.face(
                    [(x + 1, y, z), (x + 1, y + 1.4, z), (x + wide - 1, y + 1.4, z), (x + wide - 1, y, z)],
                    dark,
                    surface,
                )
        else:
            surface = canvas.surface(VEGETATION, z)
            for _ in range(7):
                green = varied(rng, (56, 92, 74), 0.25)
                canvas.disc((x + between(rng, 0, wide), between(rng, 0, 6), z), between(rng, 3, 6), green, surface)
        x += wide * between(rng, 0.7, 1.0)
