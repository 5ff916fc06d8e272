"""Pictures of a report: what two networks make of test images, and where they are right."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

IGNORED = 255
VOID_COLOR = (28, 28, 30)
# Colors of the map of who is right; the light theme has the same for the two networks.
ONLY_FIRST, ONLY_SECOND, NEITHER, BOTH = (62, 106, 168), (232, 104, 18), (48, 46, 54), (206, 206, 206)


def color_labels(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> Image.Image:
    """Return a label map (H, W) as a palette image; an index without a color is drawn as void."""
    table = np.full((256, 3), VOID_COLOR, np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)
    picture = Image.fromarray(np.asarray(labels, np.uint8))
    picture.putpalette(table.tobytes())
    return picture


def compare(image: np.ndarray, truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> Image.Image:
    """Return where only one of two networks is right, and where neither is, over a faded RGB image (H, W, 3)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat(170 + gray[..., None] // 4, 3, axis=2).astype(np.uint8)
    scored, a, b = truth != IGNORED, first == truth, second == truth
    picture[scored & a & ~b] = ONLY_FIRST
    picture[scored & ~a & b] = ONLY_SECOND
    picture[scored & ~a & ~b] = NEITHER
    return Image.fromarray(picture)


def shares(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float]:
    """Return per cent of the scored pixels: the first right, the second right, only the first, only the second."""
    scored = truth != IGNORED
    a, b = ((labels == truth)[scored] for labels in (first, second))
    return tuple(float(100 * part.mean()) if part.size else float('nan') for part in (a, b, a & ~b, b & ~a))


def data_uri(picture: Image.Image | np.ndarray) -> str:
    """Embed a picture: PNG for label maps and flat colors, JPEG for photographs (H, W, 3)."""
    buffer, photograph = io.BytesIO(), isinstance(picture, np.ndarray) and picture.ndim == 3
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, 'JPEG' if photograph else 'PNG', **({'quality': 92} if photograph else {'optimize': True}))
    kind = 'jpeg' if photograph else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}'
