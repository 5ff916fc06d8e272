"""Paint what a detector finds on the first images of its test set: python -m demo.detections CONFIG CHECKPOINT."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from mmseg_isda.commands.outcome import run_command
from mmseg_isda.errors import OptionError
from mmseg_isda.files import check_file, write_bytes

SCALE = 3  # how much larger an image is on the sheet
GAP = 8  # pixels between two images
SUFFIXES = ('.jpg', '.png')


def write_detections(
    config: Path, checkpoint: Path, out: Path, *, number: int = 6, columns: int = 2, threshold: float = 0.5
) -> int:
    """Run a detector on the first images of its test set and write one sheet of them, which replaces an older one.

    Args:
        config: config of MMDetection.
        checkpoint: a local file.
        out: picture to write, ``.jpg`` or ``.png``.
        number: number of images.
        columns: images in a row.
        threshold: least score of what is shown.

    Returns:
        The number of objects that are shown.

    Raises:
        OptionError: if a number is out of range, or ``out`` is neither JPEG nor PNG.
        MissingPathError: if a file is missing.
    """
    from mmseg_isda.commands.launch import load_config
    from mmseg_isda.commands.preflight import check_data

    if out.suffix not in SUFFIXES:
        raise OptionError(f'--out must end with .jpg or .png, got {out}')
    for name, value in (('number', number), ('columns', columns)):
        if value < 1:
            raise OptionError(f'--{name} must be at least 1, got {value}')
    if not 0 <= threshold <= 1:
        raise OptionError(f'--threshold must be between 0 and 1, got {threshold}')
    check_file(checkpoint, 'checkpoint')
    cfg = load_config(config)
    check_data(cfg, ('test_dataloader',))
    images, shown = detect(cfg, checkpoint, number, threshold)
    write_bytes(cv2.imencode(out.suffix, tile(images, columns))[1].tobytes(), out)
    return shown


def detect(cfg: Config, checkpoint: Path, number: int, threshold: float) -> tuple[list[np.ndarray], int]:
    """Return the first test images (BGR, enlarged) with what a detector finds painted over them, and how much it is."""
    from mmdet.apis import inference_detector
    from mmdet.registry import DATASETS

    from .predict import build_network

    network = build_network(cfg, checkpoint)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    images, shown = [], 0
    for index in range(min(number, len(dataset))):
        path = dataset.get_data_info(index)['img_path']
        found = inference_detector(network, path).pred_instances.cpu()
        found = found[found.scores >= threshold]
        images.append(paint(cv2.imread(path), found, dataset.metainfo))
        shown += len(found)
    return images, shown


def paint(image: np.ndarray, found, metainfo: dict) -> np.ndarray:
    """Return an image (H, W, 3) in BGR, enlarged, with masks, boxes and names of ``found`` painted by MMDetection."""
    from mmdet.structures import DetDataSample
    from mmdet.visualization import DetLocalVisualizer

    height, width = (SCALE * side for side in image.shape[:2])
    large = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    found.bboxes = SCALE * found.bboxes
    if 'masks' in found:
        found.masks = found.masks.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)
    painter = DetLocalVisualizer(line_width=1.5, alpha=0.5)
    painter.dataset_meta = metainfo
    sample = DetDataSample(pred_instances=found)
    painter.add_datasample('image', large[..., ::-1], sample, draw_gt=False, pred_score_thr=0.0)
    return painter.get_image()[..., ::-1]


def tile(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return images of one size as a sheet on white."""
    padded = [np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for image in images]
    columns = min(columns, len(padded))
    padded += [np.full_like(padded[0], 255)] * (-len(padded) % columns)
    rows = [np.hstack(padded[first : first + columns]) for first in range(0, len(padded), columns)]
    return np.vstack(rows)[:-GAP, :-GAP]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', type=Path, help='config of MMDetection')
    parser.add_argument('checkpoint', type=Path, help='checkpoint file')
    parser.add_argument('--out', type=Path, default=Path('detections.jpg'), metavar='FILE', help='picture to write')
    parser.add_argument('--number', type=int, default=6, help='number of images')
    parser.add_argument('--columns', type=int, default=2, help='images in a row')
    parser.add_argument('--threshold', type=float, default=0.5, help='least score of what is shown')
    options = vars(parser.parse_args())
    out = options.pop('out')
    shown = write_detections(options.pop('config'), options.pop('checkpoint'), out, **options)
    print(f'{shown} objects found, painted to {out}')


if __name__ == '__main__':
    sys.exit(run_command(main))
