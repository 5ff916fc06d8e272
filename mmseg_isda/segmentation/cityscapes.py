"""Prepare a Cityscapes download for training: make the labels, check that everything is there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.utils import track_parallel_progress, track_progress

COUNTS: Mapping[str, int] = {'train': 2975, 'val': 500, 'test': 1525}
_IMAGE = '_leftImg8bit.png'
_POLYGONS = '_gtFine_polygons.json'
_LABEL = '_gtFine_labelTrainIds.png'
_PAGE = 'https://www.cityscapes-dataset.com/downloads/'
_ARCHIVES = {'leftImg8bit': 'leftImg8bit_trainvaltest.zip (11 GB)', 'gtFine': 'gtFine_trainvaltest.zip (241 MB)'}


@dataclass(frozen=True)
class Preparation:
    """Labels made now, labels found made before, and labels by split."""

    made: int
    skipped: int
    counts: Mapping[str, int]


def prepare_cityscapes(root: str | Path, *, jobs: int = 1, counts: Mapping[str, int] = COUNTS) -> Preparation:
    """Make `*_gtFine_labelTrainIds.png` from the polygons of each split and check that the download is whole.

    The download is checked first, so that nothing is made from a partial one. Labels that exist are left as they
    are; each new one appears under its name only when it is complete, so an interrupted run can be started again.

    Args:
        root: the folder that holds `leftImg8bit/` and `gtFine/`.
        jobs: processes that draw labels.
        counts: images expected in each split.

    Raises:
        FileNotFoundError: a folder is missing, or holds fewer files than it should.
        ValueError: `jobs` below 1, more files than there should be, an image without its polygons, or polygons that
            cannot be read.
        ModuleNotFoundError: cityscapesscripts is not installed.
    """
    root = Path(root)
    if jobs < 1:
        raise ValueError(f'jobs must be at least 1, got {jobs}')
    polygons = check_download(root, counts)
    todo = [path for path in polygons if not _label_of(path).is_file()]
    if todo:
        _json2label()  # says what is missing before any process starts
        _convert(todo, jobs)
    made = {split: len(_files(root, 'gtFine', split, _LABEL)) for split in counts}
    _require(root, 'gtFine', _LABEL, made, counts, 'remove the labels that have no polygons')
    return Preparation(made=len(todo), skipped=len(polygons) - len(todo), counts=made)


def check_download(root: str | Path, counts: Mapping[str, int] = COUNTS) -> list[Path]:
    """Check that each split has its images and polygons; return the polygon files.

    Args:
        root: the folder that holds `leftImg8bit/` and `gtFine/`.
        counts: images expected in each split.

    Raises:
        FileNotFoundError: a folder is missing, or holds fewer files than it should.
        ValueError: more files than there should be, or an image without its polygons.
    """
    root = Path(root)
    found = {}
    for folder, suffix in (('leftImg8bit', _IMAGE), ('gtFine', _POLYGONS)):
        if not (root / folder).is_dir():
            raise FileNotFoundError(f'{root / folder} does not exist. {_fetch(root, folder)}')
        found[folder] = {split: _files(root, folder, split, suffix) for split in counts}
        numbers = {split: len(paths) for split, paths in found[folder].items()}
        _require(root, folder, suffix, numbers, counts, _fetch(root, folder))
    for split in counts:
        _check_pairs(split, found['leftImg8bit'][split], found['gtFine'][split])
    return [path for paths in found['gtFine'].values() for path in paths]


def _files(root: Path, folder: str, split: str, suffix: str) -> list[Path]:
    return sorted((root / folder / split).glob(f'*/*{suffix}'))


def _fetch(root: Path, folder: str) -> str:
    return f'Fetch {_ARCHIVES[folder]} from {_PAGE} and unpack it in {root}.'


def _require(
    root: Path, folder: str, suffix: str, found: Mapping[str, int], counts: Mapping[str, int], remedy: str
) -> None:
    wrong = [split for split in counts if found[split] != counts[split]]
    if not wrong:
        return
    numbers = '; '.join(f'{split}: {found[split]} of {counts[split]}' for split in wrong)
    message = f'{root / folder} does not hold the files *{suffix} that it should: {numbers}. {remedy}'
    raise (FileNotFoundError if any(found[split] < counts[split] for split in wrong) else ValueError)(message)


def _check_pairs(split: str, images: Sequence[Path], polygons: Sequence[Path]) -> None:
    def names(paths: Iterable[Path], suffix: str) -> set[str]:
        return {f'{path.parent.name}/{path.name.removesuffix(suffix)}' for path in paths}

    alone = sorted(names(images, _IMAGE) ^ names(polygons, _POLYGONS))
    if alone:
        raise ValueError(
            f'{len(alone)} files of split {split!r} have an image or polygons, but not both; the first is {alone[0]}. '
            f'Fetch {" and ".join(_ARCHIVES.values())} from {_PAGE} again.'
        )


def _label_of(polygons: Path) -> Path:
    return polygons.with_name(polygons.name.removesuffix(_POLYGONS) + _LABEL)


def _json2label():
    try:
        return importlib.import_module('cityscapesscripts.preparation.json2labelImg').json2labelImg
    except ImportError as error:
        raise ModuleNotFoundError(
            f'drawing the labels needs cityscapesscripts: `pip install cityscapesscripts` ({error})'
        ) from error


def _convert(todo: Sequence[Path], jobs: int) -> None:
    tasks, jobs = list(todo), min(jobs, len(todo))
    results = track_progress(_draw, tasks) if jobs == 1 else track_parallel_progress(_draw, tasks, jobs, chunksize=4)
    problems = list(filter(None, results))
    if problems:
        raise ValueError(
            f'{len(problems)} of {len(todo)} labels could not be drawn; the first: {problems[0]}. '
            f'Fetch {_ARCHIVES["gtFine"]} from {_PAGE} again.'
        )


def _draw(polygons: Path) -> str | None:
    """Draw one label; return what went wrong, for an exception of a worker may not survive the way back."""
    label = _label_of(polygons)
    part = label.with_name(f'{label.stem}.part.png')  # one name: what a killed run leaves, the next one uses up
    try:
        _json2label()(str(polygons), str(part), 'trainIds')
        os.replace(part, label)
    except (Exception, SystemExit) as error:  # cityscapesscripts leaves by sys.exit when it meets an unknown class
        return f'{polygons} ({type(error).__name__}: {error})'
    finally:
        part.unlink(missing_ok=True)
    return None
