"""A folder of pictures in COCO's layout, with crops of the same kinds of objects to pretrain a classifier on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg_isda.errors import ExistingPathError, OptionError

from .objects import CATEGORIES
from .scene import LEAST_SIDE, Instance, render_crop, render_scene

GENERATOR = 'mmseg_isda tiny COCO'
VERSION = 1  # of the pictures: raise it when the same seed gives another picture
SPLITS = ('train', 'val')
SETTINGS_FILE = 'dataset.json'
HELD = (*SPLITS, 'annotations', 'crops', SETTINGS_FILE)


def make_tiny_coco(
    root: str | os.PathLike,
    *,
    train: int = 320,
    val: int = 80,
    crops: int = 1200,
    height: int = 160,
    width: int = 224,
    seed: int = 0,
    overwrite: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> bool:
    """Makes a data set that ``CocoDataset`` and pycocotools read, and crops for MMPretrain's ``CustomDataset``.

    ``train/``, ``val/`` and ``annotations/instances_{train,val}.json`` are COCO's: boxes, masks (run lengths), areas,
    categories. ``crops/{train,val}/<category>/`` holds single objects of 64x64 pixels; a fifth as many in ``val``.

    Args:
        root: folder to fill. Called again with the same settings it does nothing.
        train: number of training pictures.
        val: number of validation pictures.
        crops: number of training crops; 0 makes none.
        height: rows of a picture in pixels.
        width: columns of a picture in pixels.
        seed: another seed gives other pictures.
        overwrite: replace a set that this function made with other settings.
        tell: is told how many files are made, and how many there will be.

    Returns:
        Whether anything had to be made.

    Raises:
        OptionError: if a number is too small.
        ExistingPathError: if the folder holds a set with other settings, or files that this function did not make.
    """
    settings = dict(train=train, val=val, crops=crops, height=height, width=width, seed=seed)
    least = dict(train=1, val=1, crops=0, height=LEAST_SIDE, width=LEAST_SIDE, seed=0)
    for name, value in settings.items():
        if value < least[name]:
            raise OptionError(f'{name} must be at least {least[name]}, got {value}')
    root = Path(root)
    settings = dict(generator=GENERATOR, version=VERSION, **settings)
    if not _claim(root, settings, overwrite):
        return False
    crops_of = {'train': crops, 'val': -(-crops // 5)}
    total, done = train + val + sum(crops_of.values()), 0
    for split in SPLITS:
        for _ in chain(_write_pictures(root, split, settings), _write_crops(root, split, crops_of[split], seed)):
            done += 1
            if tell:
                tell(done, total)
    # Last, as it says that the set is whole.
    _write(root / SETTINGS_FILE, _json(settings))
    return True


def count_objects(root: str | os.PathLike) -> dict[str, dict[str, int]]:
    """How many objects of each category each split has, ``{category: {split: number}}``."""
    counts: dict[str, dict[str, int]] = {name: {} for name in CATEGORIES}
    for split in SPLITS:
        content = json.loads((Path(root) / 'annotations' / f'instances_{split}.json').read_text(encoding='utf-8'))
        kinds = [annotation['category_id'] for annotation in content['annotations']]
        for index, name in enumerate(CATEGORIES, start=1):
            counts[name][split] = kinds.count(index)
    return counts


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask (H, W): down the columns, beginning with a run of zeros."""
    flat = np.asarray(mask, bool).ravel(order='F')
    borders = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else np.zeros(0, int)
    return {'size': list(mask.shape), 'counts': np.diff([0, *borders, flat.size]).tolist()}


# --- the folder ------------------------------------------------------------------------------------------------------


def _claim(root: Path, settings: dict, overwrite: bool) -> bool:
    """Makes sure that the folder is ours; returns whether the set has to be made."""
    held = [name for name in HELD if (root / name).exists()]
    known = _settings_of(root)
    if known == settings:
        return False
    if held and known is None and not _is_unfinished(root):
        raise ExistingPathError(
            f'{root} already holds {", ".join(held)}, which this generator did not make, and is left as it is: name '
            f'another folder'
        )
    if known is not None and not overwrite:
        other = [f'{key} {known.get(key)}, not {value}' for key, value in settings.items() if known.get(key) != value]
        raise ExistingPathError(
            f'{root} holds a set with other settings ({"; ".join(other)}): name another folder, or give --overwrite'
        )
    root.mkdir(parents=True, exist_ok=True)
    _write(root / SETTINGS_FILE, _json(dict(generator=GENERATOR, unfinished=True)))
    for path in _own_files(root):
        path.unlink()
    return True


def _read_note(root: Path) -> dict | None:
    try:
        note = json.loads((root / SETTINGS_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and note.get('generator') == GENERATOR else None


def _settings_of(root: Path) -> dict | None:
    note = _read_note(root)
    return None if note is None or note.get('unfinished') else note


def _is_unfinished(root: Path) -> bool:
    return bool((_read_note(root) or {}).get('unfinished'))


def _own_files(root: Path) -> Iterator[Path]:
    for split in SPLITS:
        yield from (root / split).glob('[0-9]*.png')
        yield from (root / 'annotations').glob(f'instances_{split}.json')
        for name in CATEGORIES:
            yield from (root / 'crops' / split / name).glob('[0-9]*.png')


def _picture_seed(settings_seed: int, split: str, kind: int, index: int) -> int:
    """The seed of one file; those of different splits, kinds and sets have nothing in common."""
    words = np.random.SeedSequence([settings_seed, SPLITS.index(split), kind, index]).generate_state(2, np.uint32)
    return int(words[0]) << 32 | int(words[1])


# --- what is written -------------------------------------------------------------------------------------------------


def _write_pictures(root: Path, split: str, settings: dict) -> Iterator[None]:
    images, annotations = [], []
    height, width = settings['height'], settings['width']
    for index in range(1, settings[split] + 1):
        name = f'{index:06d}.png'
        image, instances = render_scene(_picture_seed(settings['seed'], split, 0, index), height, width)
        _write_png(root / split / name, image)
        images.append(dict(id=index, file_name=name, height=height, width=width))
        for instance in instances:
            annotations.append(_annotation(instance, len(annotations) + 1, index))
        yield
    categories = [dict(id=index, name=name) for index, name in enumerate(CATEGORIES, start=1)]
    info = dict(description='Synthetic objects to try detectors on', version=str(VERSION))
    content = dict(info=info, licenses=[], images=images, annotations=annotations, categories=categories)
    _write(root / 'annotations' / f'instances_{split}.json', _json(content))


def _annotation(instance: Instance, number: int, image: int) -> dict[str, Any]:
    """COCO's record of one object; its box is (left, top, width, height) in pixels and just holds the mask."""
    rows, columns = (np.flatnonzero(instance.mask.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return dict(
        id=number,
        image_id=image,
        category_id=instance.category + 1,
        bbox=[left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        area=int(instance.mask.sum()),
        segmentation=run_lengths(instance.mask),
        iscrowd=0,
    )


def _write_crops(root: Path, split: str, number: int, seed: int) -> Iterator[None]:
    for index in range(number):
        kind = index % len(CATEGORIES)
        image = render_crop(_picture_seed(seed, split, 1, index), kind)
        _write_png(root / 'crops' / split / CATEGORIES[kind] / f'{index:06d}.png', image)
        yield


def _write_png(path: Path, image: np.ndarray) -> None:
    _write(path, cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes())


def _json(content: dict) -> bytes:
    return (json.dumps(content) + '\n').encode()


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
