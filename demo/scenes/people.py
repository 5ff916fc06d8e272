"""People on foot, and riders."""

from __future__ import annotations

from .canvas import Canvas, Frame
from .light import Color, Rng, paint_color

SKIN = ((150, 185, 230), (110, 150, 205), (70, 105, 160), (45, 70, 110))


def _clothes(rng: Rng) -> tuple[Color, Color, Color, Color]:
    """Draw the colors of top, legs, skin and hair."""
    top, legs = paint_color(rng, (0.1, 0.9), (0.25, 0.95)), paint_color(rng, (0.1, 0.6), (0.15, 0.55), (0.5, 0.75))
    return top, legs, SKIN[rng.integers(len(SKIN))], paint_color(rng, (0.2, 0.7), (0.08, 0.5), (0.02, 0.12))


def paint_person(canvas: Canvas, rng: Rng, frame: Frame) -> None:
    """Paint someone who stands or walks, 1.75 m tall where the frame's scale is 1."""
    number, (top, legs, skin, hair) = canvas.new('person'), _clothes(rng)
    stride, swing = rng.uniform(0.02, 0.32), rng.uniform(0.05, 0.3)
    for side in (1, -1):
        knee = (side * stride * 0.6 + 0.03, side * 0.09, 0.47)
        canvas.limb(frame, (0, side * 0.08, 0.9), knee, 0.085, legs, number)
        canvas.limb(frame, knee, (side * stride, side * 0.09, 0.06), 0.065, legs, number)
        canvas.limb(frame, (side * stride, side * 0.09, 0.05), (side * stride + 0.14, side * 0.09, 0.05), 0.05,
                    (40, 40, 45), number)  # fmt: skip
    arms = [((0, side * 0.23, 1.36), (-side * swing, side * 0.27, 0.88)) for side in (1, -1)]
    canvas.limb(frame, *arms[0], 0.06, tuple(0.8 * c for c in top), number)
    canvas.limb(frame, (0, -0.08, 0.98), (0, -0.1, 1.34), 0.15, top, number)
    canvas.limb(frame, (0, 0.08, 0.98), (0, 0.1, 1.34), 0.15, top, number)
    canvas.limb(frame, *arms[1], 0.06, tuple(0.9 * c for c in top), number)
    _head(canvas, frame, (0.02, 0, 1.62), skin, hair, number)


def _head(canvas: Canvas, frame: Frame, center: tuple, skin: Color, hair: Color, number: int) -> None:
    u, v, y = center
    canvas.ball(frame, (u - 0.02, v, y + 0.03), 0.125, hair, number, squash=1.15)
    canvas.ball(frame, (u + 0.04, v, y - 0.03), 0.095, skin, number, squash=1.2)


def paint_rider(canvas: Canvas, rng: Rng, frame: Frame, *, leaning: float) -> None:
    """Paint who rides a two-wheeler that stands at the frame, bent forward by ``leaning`` meters."""
    number, (top, legs, skin, _) = canvas.new('rider'), _clothes(rng)
    hip, shoulder = (-0.25, 0.0, 0.95), (-0.25 + leaning, 0.0, 1.45)
    for side, pedal in ((1, 0.2), (-1, 0.42)):
        knee = (0.15, side * 0.14, 0.5 + pedal)
        canvas.limb(frame, (hip[0], side * 0.1, hip[2]), knee, 0.09, legs, number)
        canvas.limb(frame, knee, (0.05, side * 0.13, pedal), 0.065, legs, number)
    for side in (-0.1, 0.1):
        canvas.limb(frame, (hip[0], side, hip[2]), (shoulder[0], side, shoulder[2]), 0.13, top, number)
    for side in (-1, 1):
        canvas.limb(frame, (shoulder[0], side * 0.2, 1.4), (0.38, side * 0.26, 1.05), 0.055, top, number)
    helmet = paint_color(rng, (0.2, 1.0), (0.5, 1.0))
    _head(canvas, frame, (shoulder[0] + 0.08, 0, 1.7), skin, helmet, number)
