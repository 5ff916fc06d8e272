"""A sheet of pictures with what a detector finds on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from matplotlib import font_manager
from mmdet.apis import inference_detector
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageDraw, ImageFont

from mmseg_isda.checkpoints.reading import check_weights, read_checkpoint, state_dict_of
from mmseg_isda.commands.launch import load_config, replace_sync_bn
from mmseg_isda.commands.preflight import check_data
from mmseg_isda.errors import OptionError
from mmseg_isda.files import move_into_place, refuse_replacing, temporary_beside

GAP = 8  # pixels between two pictures
LEAST_WIDTH = 448  # of a picture on the sheet, in pixels
FILL = 0.35  # how much of the colour covers an object
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """What a detector found on one picture.

    Attributes:
        image: (H, W, 3) uint8 in BGR.
        boxes: (N, 4) left, top, right, bottom in pixels.
        labels: (N,) numbers of the categories.
        scores: (N,) in [0, 1].
        masks: (N, H, W) of bool, or None for a detector of boxes alone.
    """

    image: np.ndarray = field(repr=False)
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = field(repr=False, default=None)


def write_detections(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    number: int = 6,
    columns: int = 3,
    threshold: float = 0.5,
    device: str = 'cpu',
    overwrite: bool = False,
) -> int:
    """Runs a detector on the first pictures of its test set and writes one sheet of them.

    Args:
        config: config of MMDetection.
        checkpoint: a local file.
        out: picture to write, ``.jpg`` or ``.png``.
        number: number of pictures.
        columns: pictures in a row.
        threshold: least score of what is shown.
        device: where the detector runs.
        overwrite: replace ``out``.

    Returns:
        The number of objects that are shown.

    Raises:
        UserError: for anything that the user can mend.
    """
    out = Path(out)
    if out.suffix not in ('.jpg', '.png'):
        raise OptionError(f'--out {out} must end with .jpg or .png')
    if number < 1 or columns < 1 or not 0 <= threshold <= 1:
        raise OptionError(
            f'number and columns must be at least 1 and threshold within 0 and 1, got {number}, {columns}, {threshold}'
        )
    refuse_replacing(out, overwrite)
    cfg = load_config(config)
    check_data(cfg, ('test_dataloader',))
    found, names, palette = detect(cfg, checkpoint, number, device)
    shown = [_above(one, threshold) for one in found]
    sheet = _sheet([paint(one, names, palette) for one in shown], columns)
    with temporary_beside(out) as temporary:
        sheet.save(temporary, format='JPEG' if out.suffix == '.jpg' else 'PNG', quality=88, optimize=True)
        move_into_place(temporary, out, overwrite)
    return sum(len(one.scores) for one in shown)


def detect(
    cfg: Config, checkpoint: str | os.PathLike, number: int, device: str = 'cpu'
) -> tuple[list[Found], Sequence[str], Sequence[Sequence[int]]]:
    """What a detector finds on the first pictures of its test set; the names of the categories and their colours."""
    init_default_scope('mmdet')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    cfg.model.backbone.init_cfg = None  # the checkpoint has the backbone; its first weights may be gone
    replace_sync_bn(cfg)
    model = MODELS.build(cfg.model).to(device)
    check_weights(model, checkpoint)
    model.load_state_dict(state_dict_of(read_checkpoint(checkpoint), checkpoint))
    model.cfg = cfg  # which inference_detector reads
    model.eval()
    found = []
    for index in range(min(number, len(dataset))):
        path = dataset.get_data_info(index)['img_path']
        instances = inference_detector(model, path).pred_instances.cpu()
        masks = np.asarray(instances.masks, bool) if 'masks' in instances else None
        image = cv2.imread(path)
        found.append(Found(image, instances.bboxes.numpy(), instances.labels.numpy(), instances.scores.numpy(), masks))
    return found, dataset.metainfo['classes'], dataset.metainfo['palette']


def paint(found: Found, names: Sequence[str], palette: Sequence[Sequence[int]]) -> Image.Image:
    """The picture, enlarged, with outline, box and name of each object; those of low score lie below."""
    scale = max(1, -(-LEAST_WIDTH // found.image.shape[1]))
    height, width = (side * scale for side in found.image.shape[:2])
    canvas = cv2.resize(found.image, (width, height), interpolation=cv2.INTER_CUBIC)
    order = np.argsort(found.scores)
    for index in order:
        colour = tuple(int(channel) for channel in palette[int(found.labels[index])])[::-1]
        if found.masks is not None:
            _paint_mask(canvas, found.masks[index], colour)
        left, top, right, bottom = (round(float(edge) * scale) for edge in found.boxes[index])
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)
    picture = Image.fromarray(canvas[..., ::-1].copy())
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(font_manager.findfont('DejaVu Sans'), 13)
    taken: list[Box] = []
    for index in reversed(order):
        label = int(found.labels[index])
        text = f'{names[label]} {found.scores[index]:.2f}'
        box = tuple(float(edge) * scale for edge in found.boxes[index])
        _paint_name(draw, font, text, box, tuple(palette[label]), (width, height), taken)
    return picture


def _above(found: Found, threshold: float) -> Found:
    keep = found.scores >= threshold
    masks = None if found.masks is None else found.masks[keep]
    return Found(found.image, found.boxes[keep], found.labels[keep], found.scores[keep], masks)


def _paint_mask(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    height, width = canvas.shape[:2]
    smooth = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) >= 0.5
    canvas[smooth] = (1 - FILL) * canvas[smooth] + FILL * np.array(colour)
    outlines, _ = cv2.findContours(smooth.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, colour, 2, cv2.LINE_AA)


def _paint_name(
    draw, font, text: str, box: Box, colour: Sequence[int], size: tuple[int, int], taken: list[Box]
) -> None:
    """Writes the name at the first free place: above the box, below it, or at one of its inner corners."""
    left, top, right, bottom = box
    wide, high = draw.textlength(text, font=font) + 8, 18
    places = [(left, top - high), (left, bottom), (right - wide, top - high), (right - wide, bottom), (left, top)]
    chips = list(_within(places, wide, high, size))
    chip = next((place for place in chips if not any(_overlap(place, other) for other in taken)), chips[0])
    taken.append(chip)
    draw.rectangle(chip, fill=tuple(colour))
    bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 150
    draw.text((chip[0] + 4, chip[1] + 1), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))


def _within(places: Sequence[tuple[float, float]], wide: float, high: float, size: tuple[int, int]) -> Iterator[Box]:
    for x, y in places:
        x, y = min(max(x, 0), size[0] - wide), min(max(y, 0), size[1] - high)
        yield x, y, x + wide, y + high


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    wide, high = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new('RGB', (columns * (wide + GAP) - GAP, rows * (high + GAP) - GAP), 'white')
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * (wide + GAP), index // columns * (high + GAP)))
    return sheet
