"""A folder of scenes in Cityscapes' layout: made in parallel, completed when interrupted, never overwritten unasked."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from .labels import CLASSES, TRAIN_ID_OF_RAW
from .scene import LEAST_HEIGHT, LEAST_WIDTH, check_integer, render_raw

VERSION = 1  # of the pictures: raise it when the same seed gives another picture
CITIES = {'train': 'alderton', 'val': 'birchley'}
SETTINGS_FILE = 'dataset.json'


def make_dataset(
    root: str | os.PathLike,
    *,
    train: int = 240,
    val: int = 60,
    height: int = 128,
    width: int = 256,
    seed: int = 0,
    overwrite: bool = False,
    jobs: int | None = None,
) -> Path:
    """Make a training and a validation set that mmseg's `CityscapesDataset` reads as they are.

    Called again with the same settings it makes only what is missing, and returns at once when nothing is. The
    result does not depend on the number of processes.

    Args:
        root: folder that gets `leftImg8bit`, `gtFine` and `dataset.json`.
        train: number of training images.
        val: number of validation images.
        height: rows of each image in pixels.
        width: columns of each image in pixels.
        seed: another seed gives other scenes.
        overwrite: replace a set that this function made with other settings.
        jobs: number of processes; None takes one for each CPU.

    Returns:
        The root as a path.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: an argument is too small; the folder holds a set with other settings, or images that this function
            did not make.
        OSError: a file cannot be written.
    """
    for name, value, least in (
        ('train', train, 1),
        ('val', val, 1),
        ('height', height, LEAST_HEIGHT),
        ('width', width, LEAST_WIDTH),
        ('seed', seed, 0),
        ('jobs', 1 if jobs is None else jobs, 1),
    ):
        check_integer(name, value, least)
    root = Path(root)
    settings = {
        'generator': 'mmseg_isda street scenes',
        'version': VERSION,
        'train': int(train),
        'val': int(val),
        'height': int(height),
        'width': int(width),
        'seed': int(seed),
    }
    _claim(root, settings, overwrite)
    missing = [
        (split, i)
        for split in CITIES
        for i in range(settings[split])
        if not all(p.exists() for p in _paths(root, split, i))
    ]
    if missing:
        for folder in {path.parent for task in missing for path in _paths(root, *task)}:
            folder.mkdir(parents=True, exist_ok=True)
        _make(root, settings, missing, jobs or _cpus())
    return root


def class_frequencies(root: str | os.PathLike) -> dict[str, tuple[float, float]]:
    """For each class its share of the labelled pixels, and the share of images that show it, over both splits.

    Raises:
        FileNotFoundError: there are no label maps below root.
    """
    files = sorted(Path(root).glob('gtFine/*/*/*_gtFine_labelTrainIds.png'))
    if not files:
        raise FileNotFoundError(
            f"no '*_gtFine_labelTrainIds.png' below {Path(root) / 'gtFine'}: make the set with make_dataset first"
        )
    counts = np.array(
        [
            np.bincount(cv2.imread(str(file), cv2.IMREAD_UNCHANGED).ravel(), minlength=256)[: len(CLASSES)]
            for file in files
        ]
    )
    pixels, images = counts.sum(0) / max(1, counts.sum()), (counts > 0).mean(0)
    return {name: (float(pixels[i]), float(images[i])) for i, name in enumerate(CLASSES)}


def image_seed(seed: int, split: str, index: int) -> int:
    """The seed of one image; images of the two splits and of different sets have nothing in common."""
    words = np.random.SeedSequence([seed, list(CITIES).index(split), index]).generate_state(2, np.uint32)
    return int(words[0]) << 32 | int(words[1])


def _paths(root: Path, split: str, index: int) -> tuple[Path, Path, Path]:
    """Image, train ids and raw ids of one scene."""
    city = CITIES[split]
    stem = f'{city}_{index:06d}_000019'
    label = root / 'gtFine' / split / city
    return (
        root / 'leftImg8bit' / split / city / f'{stem}_leftImg8bit.png',
        label / f'{stem}_gtFine_labelTrainIds.png',
        label / f'{stem}_gtFine_labelIds.png',
    )


def _claim(root: Path, settings: dict, overwrite: bool) -> None:
    """Make sure that root is ours and has these settings; with overwrite, empty it of what we made."""
    if root.exists() and not root.is_dir():
        raise ValueError(f'root must be a folder, but {root} is a file: choose another root')
    note = root / SETTINGS_FILE
    known = _read_settings(note)
    if known is None:
        held = [name for name in ('leftImg8bit', 'gtFine', SETTINGS_FILE) if (root / name).exists()]
        if held:
            raise ValueError(
                f'{root} already holds {", ".join(held)}, which this generator did not make, and is left as it is: '
                'choose another root'
            )
    elif overwrite:
        for path in _own_files(root):
            path.unlink()
    elif known != settings:
        differing = ', '.join(
            f'{key}={known.get(key)!r} (asked for {value!r})'
            for key, value in settings.items()
            if known.get(key) != value
        )
        raise ValueError(
            f'{root} holds a set with other settings: {differing}. Choose another root, or pass overwrite=True '
            '(--overwrite) to replace it'
        )
    else:
        return
    root.mkdir(parents=True, exist_ok=True)
    _write(note, (json.dumps(settings, indent=2) + '\n').encode())


def _read_settings(note: Path) -> dict | None:
    """The settings of a set that we made; None where there is none."""
    try:
        settings = json.loads(note.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return None
    return (
        settings
        if isinstance(settings, dict) and str(settings.get('generator', '')).endswith('street scenes')
        else None
    )


def _own_files(root: Path) -> Iterator[Path]:
    for kind in ('leftImg8bit', 'gtFine'):
        for split, city in CITIES.items():
            yield from (root / kind / split / city).glob(f'{city}_*_000019_*.png')


def _make(root: Path, settings: dict, missing: list[tuple[str, int]], jobs: int) -> None:
    progress = _Progress(len(missing))
    task = partial(_make_one, root, settings)
    jobs = min(jobs, len(missing))
    if jobs == 1:
        for done in map(task, missing):
            progress.step(done)
    else:
        # Forked children need not import the host again; where there is no fork, they do.
        way = 'fork' if sys.platform.startswith('linux') else 'spawn'
        with ProcessPoolExecutor(
            jobs, multiprocessing.get_context(way), initializer=cv2.setNumThreads, initargs=(0,)
        ) as pool:
            try:
                for done in pool.map(task, missing, chunksize=4):
                    progress.step(done)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


class _Progress:
    """Progress and time left: a bar on a terminal, a line for each tenth in a log."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.bar = ProgressBar(total, file=sys.stdout) if sys.stdout.isatty() else None

    def step(self, done: int) -> None:
        """So many more are made."""
        before, self.done = self.done, self.done + done
        if self.bar is not None:
            self.bar.update(done)
            print(end='\n' if self.done == self.total else '', flush=True)
        elif self.done * 10 // self.total > before * 10 // self.total:
            left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
            print(f'street scenes: {self.done}/{self.total} made, {left:.0f} s left', flush=True)


def _make_one(root: Path, settings: dict, scene: tuple[str, int]) -> int:
    split, index = scene
    image, raw = render_raw(image_seed(settings['seed'], split, index), settings['height'], settings['width'])
    for path, picture in zip(_paths(root, split, index), (image, TRAIN_ID_OF_RAW[raw], raw), strict=True):
        _write(path, cv2.imencode('.png', picture, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes())
    return 1


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
