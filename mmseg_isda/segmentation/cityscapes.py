"""Prepare a Cityscapes download for training: make the labels, check that everything is there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
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
        _convert(todo, min(jobs, len(todo)))
    _find_files(root, 'gtFine', _LABEL, counts, 'remove the labels that have no polygons')
    return Preparation(made=len(todo), skipped=len(polygons) - len(todo), counts=counts)


def check_download(root: str | Path, counts: Mapping[str, int] = COUNTS) -> list[Path]:
    """Check each split's images and polygons, as :func:`prepare_cityscapes` does, and return the polygon files."""
    root = Path(root)
    images, polygons = (
        _find_files(root, folder, suffix, counts, f'Fetch {_ARCHIVES[folder]} from {_PAGE} and unpack it in {root}.')
        for folder, suffix in (('leftImg8bit', _IMAGE), ('gtFine', _POLYGONS))
    )
    for split in counts:
        alone = sorted(images[split].keys() ^ polygons[split].keys())
        if alone:
            raise ValueError(
                f'{len(alone)} files of split {split!r} have an image or polygons, but not both; the first is '
                f'{alone[0]}. Fetch {" and ".join(_ARCHIVES.values())} from {_PAGE} again.'
            )
    return [path for files in polygons.values() for path in files.values()]


def _find_files(
    root: Path, folder: str, suffix: str, counts: Mapping[str, int], remedy: str
) -> dict[str, dict[str, Path]]:
    """Return the files of each split by city and name; raise if there are fewer or more than there should be."""
    if not (root / folder).is_dir():
        raise FileNotFoundError(f'{root / folder} does not exist. {remedy}')
    found = {}
    for split in counts:
        paths = sorted((root / folder / split).glob(f'*/*{suffix}'))
        found[split] = {f'{path.parent.name}/{path.name.removesuffix(suffix)}': path for path in paths}
    wrong = {split: len(files) for split, files in found.items() if len(files) != counts[split]}
    if wrong:
        numbers = '; '.join(f'{split}: {number} of {counts[split]}' for split, number in wrong.items())
        is_short = any(number < counts[split] for split, number in wrong.items())
        raise (FileNotFoundError if is_short else ValueError)(
            f'{root / folder} does not hold the files *{suffix} that it should: {numbers}. {remedy}'
        )
    return found


def _label_of(polygons: Path) -> Path:
    return polygons.with_name(polygons.name.removesuffix(_POLYGONS) + _LABEL)


def _json2label():
    try:
        return importlib.import_module('cityscapesscripts.preparation.json2labelImg').json2labelImg
    except ImportError as error:
        raise ModuleNotFoundError(
            f'drawing the labels needs cityscapesscripts: `pip install cityscapesscripts` ({error})'
        ) from error


def _convert(todo: list[Path], jobs: int) -> None:
    results = track_progress(_draw, todo) if jobs == 1 else track_parallel_progress(_draw, todo, jobs, chunksize=4)
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
