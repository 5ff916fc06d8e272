"""Cars, trucks, buses, trams, motorcycles and bicycles, built from boxes, rods and rings."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame, among, cells
from .light import Color, Rng, paint_color
from .people import paint_rider

GLASS, TIRE, CHROME = (78.0, 66.0, 56.0), (34.0, 32.0, 32.0), (170.0, 170.0, 168.0)
LENGTHS = {'car': 4.3, 'truck': 8.0, 'bus': 11.5, 'train': 24.0, 'motorcycle': 2.1, 'bicycle': 1.8}
WIDTHS = {'car': 1.8, 'truck': 2.4, 'bus': 2.5, 'train': 2.6, 'motorcycle': 0.8, 'bicycle': 0.6}


def paint_vehicle(canvas: Canvas, rng: Rng, kind: str, frame: Frame, *, ridden: bool = True) -> None:
    """Paint a vehicle of class ``kind``; a bicycle or motorcycle that is ``ridden`` carries a rider."""
    if kind in ('motorcycle', 'bicycle'):
        number = canvas.new(kind)
        paint = _motorcycle if kind == 'motorcycle' else _bicycle
        paint(canvas, rng, frame, number)
        if ridden:
            paint_rider(canvas, rng, frame, leaning=0.35 if kind == 'motorcycle' else 0.2)
    else:
        {'car': _car, 'truck': _truck, 'bus': _bus, 'train': _tram}[kind](canvas, rng, frame, canvas.new(kind))


def _glass(canvas: Canvas) -> Color:
    return (150.0, 205.0, 235.0) if canvas.light.is_dark else GLASS


def _wheels(canvas: Canvas, frame: Frame, seen: dict, half: float, places: list[float], radius: float, number: int):
    for side, v in (('left', -half - 0.02), ('right', half + 0.02)):
        for u in places if side in seen else ():
            canvas.ring(frame, (u, v, radius), radius, radius, TIRE, number)
            canvas.ring(frame, (u, v, radius), radius * 0.5, radius, CHROME, number)


def _lamps(canvas: Canvas, seen: dict, number: int, *, t: tuple[float, float], width: float = 0.2) -> None:
    """Paint the red lamps of the back and the white ones of the front."""
    s = np.array([[0.04, 0.04 + width], [0.96 - width, 0.96]])
    dark = canvas.light.is_dark
    for name, color in (('back', (40, 40, 300 if dark else 210)), ('front', (300, 300, 300) if dark else (225,) * 3)):
        if name in seen:
            canvas.panes(seen[name], s, np.array([t]), color, number)


def _car(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    color = paint_color(rng, (0.0, 0.9), (0.25, 0.95))
    if rng.random() < 0.4:
        color = (float(rng.uniform(30, 235)),) * 3
    half, high = 0.9, rng.uniform(1.35, 1.75)
    back, front = rng.uniform(0.0, 0.7), rng.uniform(0.9, 1.3)
    body = canvas.solid(frame, (-2.1, 2.1), (-half, half), (0.22, 0.85), color, number, taper=(0.05, 0.12, 0.04))
    _lamps(canvas, body, number, t=(0.5, 0.82))
    for face in among(body, 'back', 'front'):
        canvas.panes(face, [0.0, 1.0], [0.0, 0.22], TIRE, number)
        canvas.panes(face, [0.36, 0.64], [0.3, 0.48], (225, 225, 220), number)
    cabin = canvas.solid(
        frame, (-2.05 + back, front), (-half + 0.05, half - 0.05), (0.85, high), color, number, taper=(0.35, 0.75, 0.14)
    )
    for name, face in cabin.items():
        if name != 'top':
            panes = cells(2, 0.86) if name in ('left', 'right') else cells(1, 0.86)
            canvas.panes(face, panes, [0.12, 0.86], _glass(canvas), number)
    _wheels(canvas, frame, body, half, [-1.3, 1.3], 0.33, number)


def _truck(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    color, load = paint_color(rng, (0.5, 0.95), (0.4, 0.9)), paint_color(rng, (0.0, 0.35), (0.6, 0.95))
    half, high = 1.2, rng.uniform(2.9, 3.6)
    away = np.cos(frame.heading) * frame.z + np.sin(frame.heading) * frame.x > 0  # its back is nearer than its front
    canvas.solid(frame, (-4, 4), (-half + 0.15, half - 0.15), (0.45, 0.95), TIRE, number)

    def cab() -> None:
        seen = canvas.solid(frame, (2.0, 4.0), (-half, half), (0.5, 2.6), color, number, taper=(0, 0.2, 0.05))
        for face in among(seen, 'front', 'left', 'right'):
            canvas.panes(face, [0.12, 0.88], [0.52, 0.9], _glass(canvas), number)
        _lamps(canvas, seen, number, t=(0.08, 0.2))
        _wheels(canvas, frame, seen, half - 0.1, [2.9], 0.48, number)

    def box() -> None:
        seen = canvas.solid(frame, (-4, 1.8), (-half, half), (0.95, high), load, number)
        if 'back' in seen:
            canvas.panes(seen['back'], cells(2, 0.94), [0.05, 0.95], tuple(0.88 * c for c in load), number)
        for face in among(seen, 'left', 'right'):
            canvas.panes(face, [0.1, 0.9], [0.35, 0.7], color, number)
        _lamps(canvas, seen, number, t=(0.0, 0.07))
        _wheels(canvas, frame, seen, half - 0.1, [-3.0, -1.9], 0.48, number)

    for part in (cab, box) if away else (box, cab):
        part()


def _bus(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    color, half = paint_color(rng, (0.55, 0.95), (0.5, 0.95), (-0.05, 0.75)), 1.25
    seen = canvas.solid(frame, (-5.7, 5.7), (-half, half), (0.35, 3.0), color, number, taper=(0.05, 0.15, 0.04))
    for face in among(seen, 'left', 'right'):
        canvas.panes(face, cells(8, 0.86), [0.42, 0.8], _glass(canvas), number)
    for face in among(seen, 'back', 'front'):
        canvas.panes(face, [0.08, 0.92], [0.4, 0.8], _glass(canvas), number)
        canvas.panes(face, [0.2, 0.8], [0.85, 0.95], (60, 200, 300), number)  # where it goes
    _lamps(canvas, seen, number, t=(0.1, 0.2))
    _wheels(canvas, frame, seen, half, [-3.4, 3.4], 0.5, number)


def _tram(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    low, high = paint_color(rng, (0.7, 0.95), (0.45, 0.8)), (205.0, 228.0, 232.0)
    half = 1.3
    canvas.limb(frame, (-3, 0, 3.5), (-1, 0, 4.6), 0.05, TIRE, number)
    canvas.limb(frame, (-1, 0, 4.6), (-3, 0, 5.4), 0.05, TIRE, number)
    parts = [(-12.0, -4.2), (-3.9, 3.9), (4.2, 12.0)]
    nearest_last = sorted(parts, key=lambda u: -float(np.hypot(*frame.world((np.mean(u), 0, 0))[[0, 2]])))
    for u in nearest_last:
        ends = (0.5 if u[0] < -5 else 0.0, 0.5 if u[1] > 5 else 0.0)
        skirt = canvas.solid(frame, u, (-half, half), (0.2, 1.5), low, number)
        body = canvas.solid(frame, u, (-half, half), (1.5, 3.5), high, number, taper=(*ends, 0.1))
        for face in among(body, 'left', 'right'):
            canvas.panes(face, cells(4, 0.8), [0.1, 0.62], _glass(canvas), number)
        for face in among(body, 'back', 'front'):
            canvas.panes(face, [0.1, 0.9], [0.05, 0.62], _glass(canvas), number)
            canvas.panes(face, [0.3, 0.7], [0.75, 0.92], (60, 200, 300), number)
        _lamps(canvas, skirt, number, t=(0.35, 0.6), width=0.12)


def _motorcycle(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    color = paint_color(rng, (0.6, 1.0), (0.4, 0.95))
    for u in (-0.7, 0.75):
        canvas.ring(frame, (u, 0, 0.32), 0.28, 0.13, TIRE, number)
        canvas.limb(frame, (u, 0, 0.04), (u, 0, 0.6), 0.07, TIRE, number)  # as seen from the front
    canvas.limb(frame, (-0.45, 0, 0.5), (0.35, 0, 0.5), 0.22, (60, 60, 60), number)
    canvas.limb(frame, (-0.75, 0, 0.82), (-0.1, 0, 0.78), 0.09, TIRE, number)
    canvas.limb(frame, (0.0, 0, 0.85), (0.4, 0, 0.85), 0.17, color, number)
    canvas.limb(frame, (0.75, 0, 0.32), (0.45, 0, 1.02), 0.05, CHROME, number)
    canvas.limb(frame, (0.45, -0.38, 1.05), (0.45, 0.38, 1.05), 0.04, TIRE, number)
    lamp = (300, 300, 300) if canvas.light.is_dark else (215, 225, 225)
    canvas.ball(frame, (0.62, 0, 0.85), 0.12, lamp if np.cos(frame.heading) < 0 else color, number)


def _bicycle(canvas: Canvas, rng: Rng, frame: Frame, number: int) -> None:
    color = paint_color(rng, (0.3, 1.0), (0.3, 0.95))
    for u in (-0.52, 0.55):
        canvas.ring(frame, (u, 0, 0.34), 0.33, 0.06, TIRE, number)
    hub, saddle, head = (-0.52, 0, 0.34), (-0.2, 0, 0.85), (0.4, 0, 0.85)
    crank = (-0.05, 0, 0.32)
    for start, end in ((hub, saddle), (saddle, crank), (hub, crank), (crank, head), (saddle, head)):
        canvas.limb(frame, start, end, 0.035, color, number)
    canvas.limb(frame, (0.55, 0, 0.34), (0.38, 0, 1.0), 0.035, color, number)
    canvas.limb(frame, (0.38, -0.28, 1.02), (0.38, 0.28, 1.02), 0.03, TIRE, number)
    canvas.limb(frame, (-0.32, 0, 0.92), (-0.1, 0, 0.92), 0.05, TIRE, number)
