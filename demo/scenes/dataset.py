"""A folder of scenes: Cityscapes' layout, COCO's annotations, and crops of single objects."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from mmseg_isda.errors import ExistingPathError, OptionError

from .classes import CLASSES, THINGS
from .scene import LEAST, OVERSAMPLING, Scene, render_scene

VERSION = 1  # of the pictures: raise it when the same seed gives another scene
SPLITS = ('train', 'val')
RECORD = 'scenes.json'
LEAST_AREA = 24  # pixels; a smaller object is marked as a crowd, which neither training nor scoring counts
LEAST_CROP, CROP = 14, 64  # longer side of an object that is worth a crop, and side of a crop, in pixels


def make_scenes(
    root: str | os.PathLike,
    *,
    train: int = 240,
    val: int = 120,
    height: int = 128,
    width: int = 256,
    seed: int = 0,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Make a data set of drawn street scenes; return its record, which is also written to ``ROOT/scenes.json``.

    Called again with the same settings, it does nothing. The folder appears when the set is complete.

    Args:
        root: folder to make. ``leftImg8bit/`` and ``gtFine/`` have Cityscapes' layout and train ids,
            ``annotations/instances_{train,val}.json`` boxes and masks of the objects as COCO has them, and
            ``crops/{train,val}/CLASS/`` single objects of 64 x 64 pixels.
        train: number of training images.
        val: number of validation images.
        height: rows of an image in pixels.
        width: columns of an image in pixels.
        seed: another seed gives other scenes.
        jobs: processes that paint; by default one for each CPU.

    Raises:
        OptionError: if a number is too small.
        ExistingPathError: if the folder holds anything else.
    """
    settings = dict(train=train, val=val, height=height, width=width, seed=seed)
    least = dict(train=1, val=1, height=LEAST[0], width=LEAST[1], seed=0)
    for name, value in settings.items():
        if value < least[name]:
            raise OptionError(f'{name} must be at least {least[name]}, got {value}')
    root, settings = Path(root), dict(version=VERSION, **settings)
    if (known := _find_record(root, settings)) is not None:
        return known
    partial_root = root.with_name(f'.{root.name}.partial')
    shutil.rmtree(partial_root, ignore_errors=True)
    record = _write_all(partial_root, settings, jobs or os.cpu_count() or 1)
    if root.is_dir():
        root.rmdir()  # empty, see above
    partial_root.replace(root)
    return record


def _find_record(root: Path, settings: dict) -> dict | None:
    """Return the record of a finished set with these settings; None if there is nothing."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        record = json.loads((root / RECORD).read_text(encoding='utf-8'))
        known = record['settings']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExistingPathError(f'{root} holds files, but no set of drawn scenes: name another folder') from error
    other = [f'{key} {known.get(key)}, not {value}' for key, value in settings.items() if known.get(key) != value]
    if other:
        raise ExistingPathError(f'{root} holds other scenes ({"; ".join(other)}): name another folder, or delete it')
    return record


def _write_all(root: Path, settings: dict, jobs: int) -> dict[str, Any]:
    for split in SPLITS:
        for folder in ('leftImg8bit', 'gtFine'):
            (root / folder / split / 'drawn').mkdir(parents=True)
        for name in THINGS:
            (root / 'crops' / split / name).mkdir(parents=True)
    (root / 'annotations').mkdir()
    tasks = [(split, index) for split in SPLITS for index in range(1, settings[split] + 1)]
    with multiprocessing.get_context('spawn').Pool(min(jobs, len(tasks))) as pool:
        done = pool.imap(partial(_write_scene, root, settings), tasks, chunksize=4)
        found = list(track(done, 'Drawing street scenes', len(tasks)))
    for split in SPLITS:
        own = [annotations for (name, _), (_, annotations) in zip(tasks, found, strict=True) if name == split]
        _write_json(root / 'annotations' / f'instances_{split}.json', _coco(own, settings))
    pixels = np.array([counts for counts, _ in found])
    shares = pixels.sum(0) / pixels.sum()
    record = {
        'settings': settings,
        'pixels': dict(zip(CLASSES, shares.round(6).tolist(), strict=True)),
        'images': dict(zip(CLASSES, (pixels > 0).mean(0).round(6).tolist(), strict=True)),
    }
    _write_json(root / RECORD, record)
    return record


def _write_scene(root: Path, settings: dict, task: tuple[str, int]) -> tuple[np.ndarray, list[dict]]:
    """Paint and write one scene; return the pixels of each class and the annotations of its objects."""
    split, index = task
    words = np.random.SeedSequence([settings['seed'], SPLITS.index(split), index]).generate_state(1, np.uint64)
    scene = render_scene(int(words[0]), settings['height'], settings['width'])
    _write_png(root / 'leftImg8bit' / split / image_name(index), scene.image)
    label = image_name(index).replace('_leftImg8bit', '_gtFine_labelTrainIds')
    _write_png(root / 'gtFine' / split / label, scene.labels)
    annotations = list(annotate(scene))
    for annotation in annotations:
        if max(annotation['bbox'][2:]) >= LEAST_CROP and not annotation['iscrowd']:
            name = THINGS[annotation['category_id'] - 1]
            file = root / 'crops' / split / name / f'{index:06d}_{annotation["id"]:03d}.png'
            _write_png(file, cut_out(scene.large, annotation['bbox']))
    return np.bincount(scene.labels.ravel(), minlength=256)[: len(CLASSES)], annotations


def image_name(index: int) -> str:
    """Return where an image lies below ``leftImg8bit/SPLIT``."""
    return f'drawn/{index:06d}_leftImg8bit.png'


def annotate(scene: Scene) -> Iterable[dict[str, Any]]:
    """Yield COCO's annotation of each object that is seen: box (left, top, width, height), area, mask."""
    for number, name in scene.things.items():
        mask = scene.objects == number
        area = int(mask.sum())
        if area:
            yield dict(
                id=number,
                category_id=THINGS.index(name) + 1,
                bbox=list(cv2.boundingRect(mask.astype(np.uint8))),
                area=area,
                segmentation=run_lengths(mask),
                iscrowd=int(area < LEAST_AREA),
            )


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's run lengths of a mask (H, W): down the columns, beginning with a run of zeros."""
    flat = np.asarray(mask, bool).ravel(order='F')
    borders = np.flatnonzero(np.diff(flat, prepend=False))
    return {'size': list(mask.shape), 'counts': np.diff([0, *borders, flat.size]).tolist()}


def cut_out(image: np.ndarray, box: list[int]) -> np.ndarray:
    """Return the square around a box, with a margin, as ``CROP`` x ``CROP`` pixels of the finer image."""
    left, top, width, height = (OVERSAMPLING * value for value in box)
    side = round(1.2 * max(width, height))
    x, y = left + (width - side) // 2, top + (height - side) // 2
    padded = cv2.copyMakeBorder(image, side, side, side, side, cv2.BORDER_REPLICATE)
    return cv2.resize(
        padded[y + side : y + 2 * side, x + side : x + 2 * side], (CROP, CROP), interpolation=cv2.INTER_AREA
    )


def _coco(found: list[list[dict]], settings: dict) -> dict[str, Any]:
    size = dict(height=settings['height'], width=settings['width'])
    images = [dict(id=index, file_name=image_name(index), **size) for index in range(1, len(found) + 1)]
    pairs = [(image['id'], annotation) for image, own in zip(images, found, strict=True) for annotation in own]
    return {
        'info': {'description': 'Drawn street scenes'},
        'images': images,
        'annotations': [dict(a, id=number, image_id=image) for number, (image, a) in enumerate(pairs, start=1)],
        'categories': [dict(id=index, name=name) for index, name in enumerate(THINGS, start=1)],
    }


def _write_png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes())


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content) + '\n', encoding='utf-8')
