"""What stands beside the road: buildings, walls, fences, trees, poles, lights and signs."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame, Span, among, cells
from .light import Color, Rng, paint_color

FACADES = ((0.02, 0.14), (0.5, 0.65))  # hues: brick to sand, and a few blues
METAL, SLATE = (120.0, 122.0, 122.0), (72.0, 70.0, 78.0)


def paint_building(canvas: Canvas, rng: Rng, x: Span, z: Span) -> None:
    """Paint a building on the ground plan ``x`` by ``z``, with rows of windows, shops or a gable."""
    number, high = canvas.new('building'), rng.uniform(5, 17)
    warm = rng.random() < 0.8
    color = paint_color(rng, (0.05, 0.5 if warm else 0.2), (0.5, 0.92), FACADES[0 if warm else 1])
    frame, u, half = Frame(np.mean(x), z[0]), (0.0, z[1] - z[0]), (x[1] - x[0]) / 2
    walls = canvas.solid(frame, u, (-half, half), (0, high), color, number)
    floors, glass = max(1, round(high / 3.1)), _window_color(canvas, rng)
    wide = rng.uniform(0.35, 0.7)
    for face in among(walls, 'left', 'right', 'back'):
        length = float(np.linalg.norm(face[1] - face[0]))
        columns, rows = cells(max(1, round(length / rng.uniform(2.2, 3.4))), wide), cells(floors, 0.55)
        canvas.panes(face, columns, rows[1:] if floors > 1 else rows, glass, number)
        if floors > 1 and rng.random() < 0.6:  # shops
            canvas.panes(face, cells(max(1, round(length / 4.5)), 0.85), rows[0], _window_color(canvas, rng), number)
            awning = paint_color(rng, (0.4, 0.9), (0.4, 0.9))
            canvas.panes(face, [0.0, 1.0], [0.86 / floors, 0.98 / floors], awning, number)
    if high < 10 or rng.random() < 0.4:
        roof = paint_color(rng, (0.2, 0.6), (0.3, 0.6), (0.0, 0.08)) if rng.random() < 0.6 else SLATE
        canvas.solid(frame, (u[0] - 0.2, u[1] + 0.2), (-half - 0.4, half + 0.4), (high, high + rng.uniform(1.5, 3.5)),
                     roof, number, taper=(rng.uniform(0, 2), 0, half * 0.9))  # fmt: skip


def _window_color(canvas: Canvas, rng: Rng) -> Color:
    if canvas.light.is_dark and rng.random() < 0.5:
        return (120.0, 205.0, 260.0)
    return tuple(np.array((95.0, 82.0, 70.0)) * rng.uniform(0.6, 1.5))


def paint_wall(canvas: Canvas, rng: Rng, x: float, z: Span) -> None:
    """Paint a wall of stones along the street."""
    number, high = canvas.new('wall'), rng.uniform(1.3, 2.4)
    color = paint_color(rng, (0.08, 0.4), (0.45, 0.75), (0.02, 0.12))
    faces = canvas.solid(Frame(x, z[0]), (0, z[1] - z[0]), (-0.2, 0.2), (0, high), color, number)
    for face in among(faces, 'left', 'right'):
        columns = np.clip(cells(max(2, round((z[1] - z[0]) / 1.1)), 0.86), 0, 1)
        for row, t in enumerate(cells(4, 0.78)):
            shift = (row % 2) * 0.5 / len(columns)
            stones = np.clip(columns + shift, 0, 1)
            canvas.panes(face, stones, t, tuple(np.array(color) * rng.uniform(0.72, 0.95)), number)


def paint_fence(canvas: Canvas, rng: Rng, x: float, z: Span) -> None:
    """Paint a fence of pickets along the street."""
    number, high = canvas.new('fence'), rng.uniform(1.0, 1.7)
    bright = rng.random() < 0.5
    color = paint_color(rng, (0.0, 0.5), (0.75, 0.95) if bright else (0.3, 0.5), (0.06, 0.4))
    faces = canvas.solid(Frame(x, z[0]), (0, z[1] - z[0]), (-0.04, 0.04), (0.05, high), color, number)
    gap = tuple(0.5 * c for c in color)
    for face in among(faces, 'left', 'right'):
        pickets = cells(max(4, round((z[1] - z[0]) / 0.45)), 0.45)
        canvas.panes(face, pickets, [[0.0, 0.28], [0.4, 0.72], [0.84, 1.0]], gap, number)


def paint_tree(canvas: Canvas, rng: Rng, frame: Frame) -> None:
    """Paint a broad-leaved or a conical tree, 4 to 9 m tall."""
    number, high, wide = canvas.new('vegetation'), rng.uniform(4, 9), rng.uniform(1.2, 2.4)
    green = paint_color(rng, (0.35, 0.75), (0.3, 0.62), (0.17, 0.36))
    canvas.limb(frame, (0, 0, 0), (0, 0, high * 0.6), 0.16, (52, 70, 90), number)
    cone = rng.random() < 0.3
    for share in np.linspace(0, 1, 14):
        y = high * (0.38 + 0.55 * share)
        reach = wide * ((1 - 0.85 * share) if cone else np.sqrt(max(0.15, 1 - (2 * share - 0.9) ** 2)))
        for _ in range(2):
            where = (0, rng.uniform(-0.6, 0.6) * reach, y + rng.uniform(-0.3, 0.3))
            tone = tuple(np.array(green) * (0.7 + 0.55 * share) * rng.uniform(0.8, 1.15))
            canvas.ball(frame, where, reach * rng.uniform(0.35, 0.6), tone, number, squash=0.85)


def paint_hedge(canvas: Canvas, rng: Rng, x: float, z: Span) -> None:
    """Paint a row of bushes along the street."""
    number, high = canvas.new('vegetation'), rng.uniform(0.6, 1.5)
    green = np.array(paint_color(rng, (0.4, 0.75), (0.28, 0.55), (0.2, 0.38)))
    for place in np.arange(z[1], z[0], -0.5):
        frame = Frame(x + rng.uniform(-0.15, 0.15), place)
        for y in (0.35, 0.75):
            tone = tuple(green * (0.6 + 0.5 * y) * rng.uniform(0.8, 1.2))
            canvas.ball(frame, (0, rng.uniform(-0.2, 0.2), high * y), high * rng.uniform(0.3, 0.42), tone, number)


def paint_lamp(canvas: Canvas, rng: Rng, frame: Frame) -> None:
    """Paint a street lamp whose arm reaches over the road."""
    number, high, arm = canvas.new('pole'), rng.uniform(5, 7.5), rng.uniform(1.0, 2.2)
    color = tuple(np.array(METAL) * rng.uniform(0.6, 1.2))
    inwards = -np.sign(frame.x)
    canvas.limb(frame, (0, 0, 0), (0, 0, high), 0.09, color, number)
    canvas.limb(frame, (0, 0, high), (0, inwards * arm, high + 0.3), 0.06, color, number)
    glow = (190.0, 240.0, 300.0) if canvas.light.is_dark else (215.0, 220.0, 220.0)
    canvas.limb(frame, (0, inwards * arm, high + 0.22), (0, inwards * (arm + 0.5), high + 0.22), 0.09, glow, number)


def paint_traffic_light(canvas: Canvas, rng: Rng, frame: Frame) -> None:
    """Paint a traffic light on its pole; one of three lamps is on."""
    pole, number = canvas.new('pole'), canvas.new('traffic light')
    high, on = rng.uniform(2.6, 3.4), rng.integers(3)
    canvas.limb(frame, (0, 0, 0), (0, 0, high + 0.2), 0.08, METAL, pole)
    canvas.solid(frame, (-0.2, 0), (-0.27, 0.27), (high - 0.55, high + 0.75), (30, 32, 30), number)
    lamps = ((60, 60, 300), (60, 210, 300), (110, 300, 90))
    for index, color in enumerate(lamps):
        tone = color if index == on else tuple(0.22 * c for c in color)
        canvas.ball(frame, (-0.25, 0, high + 0.5 - 0.4 * index), 0.16, tone, number)


def paint_sign(canvas: Canvas, rng: Rng, frame: Frame) -> None:
    """Paint a traffic sign on its pole: round, triangular, a diamond or a plate."""
    pole, number = canvas.new('pole'), canvas.new('traffic sign')
    high, kind = rng.uniform(2.2, 2.9), rng.integers(4)
    canvas.limb(frame, (0, 0, 0), (0, 0, high), 0.06, METAL, pole)
    red, white, blue, yellow = (45, 40, 205), (235, 235, 235), (190, 95, 25), (40, 200, 240)
    outer, inner, corners, turn = [
        (red, white, 20, 0.0), (red, white, 3, np.pi / 2), (white, yellow, 4, 0.0), (blue, white, 4, np.pi / 4)
    ][kind]  # fmt: skip
    if kind == 0 and rng.random() < 0.5:
        outer, inner = white, blue
    for size, color, ahead in ((0.5, outer, 0.0), (0.34 if kind < 3 else 0.2, inner, -0.02)):
        angle = turn + np.arange(corners) * 2 * np.pi / corners
        plate = np.stack([np.full(corners, ahead - 0.1), np.cos(angle) * size, high + np.sin(angle) * size], -1)
        canvas.flat(frame.world(plate)[None], color, number)


def paint_skyline(canvas: Canvas, rng: Rng, z: float = 130.0) -> None:
    """Paint far hills, trees and houses across the whole view."""
    reach = z * canvas.camera.width / canvas.camera.focal
    hills = canvas.new('vegetation', texture=0.04)
    x = np.linspace(-reach, reach, 60)
    ridge = 3 + 5 * rng.random() + np.cumsum(rng.normal(0, 1.1, 60))
    outline = np.stack([x, np.maximum(ridge, 1.0), np.full(60, z)], -1)
    feet = np.array([[reach, 0, z], [-reach, 0, z]])
    canvas.flat(np.concatenate([outline, feet])[None], paint_color(rng, (0.2, 0.5), (0.3, 0.5), (0.2, 0.4)), hills)
    for left in np.arange(-reach, reach, 14):
        if rng.random() < 0.55:
            number, wide, high = canvas.new('building', texture=0.02), rng.uniform(6, 13), rng.uniform(5, 20)
            color = paint_color(rng, (0.05, 0.35), (0.45, 0.8), FACADES[0])
            canvas.solid(Frame(left, z - 2), (0, 1), (0, wide), (0, high), color, number)
