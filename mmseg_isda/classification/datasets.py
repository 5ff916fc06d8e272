"""Data sets of small images that stay in memory, for MMPretrain."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.registry import DATASETS
from PIL import Image, UnidentifiedImageError
from torchvision import datasets as tv

from ..core.checks import check_choice
from ..errors import MissingPathError, OptionError
from ..files import MemoryBudget
from ..toolkits import find_hint

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.ppm', '.pgm')
TAR_SUFFIXES = ('.tar', '.tar.gz', '.tgz', '.tar.xz', '.tar.bz2')
# What the standard library raises for broken archives.
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, MemoryError)
_LAYOUTS = 'a folder or an archive (tar, tar.gz, tar.xz, tar.bz2, zip) of CLASS/IMAGE files, or an npz file'


class InMemoryDataset(BaseDataset):
    """Base of data sets whose images are one array; each sample has `img` (H, W) or (H, W, 3) and `gt_label`."""

    def pack(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None, source: str) -> list[dict]:
        """Turn arrays into MMEngine's list of samples, or raise OptionError, which names `source`, if they do not fit.

        Args:
            images: (N, H, W), (N, H, W, 1) or (N, H, W, 3) of 8 bits.
            labels: (N,) or (N, 1) integers.
            classes: their names; None takes those of the config's `classes`, or the numbers up to the largest label.
            source: where the arrays come from.
        """
        labels = np.asarray(labels)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))):
            raise OptionError(
                f'{source}: images must be 8-bit integers of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), got '
                f'{images.dtype} of {images.shape}'
            )
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise OptionError(
                f'{source}: labels must be {len(images)} integers, one for each image, got {labels.dtype} of '
                f'{labels.shape}'
            )
        if not len(images):
            raise OptionError(f'{source}: there is no image in it')
        if self.CLASSES is None:
            names = classes if classes is not None else map(str, range(int(labels.max(initial=0)) + 1))
            self._metainfo['classes'] = tuple(names)
        elif classes is not None and len(classes) != len(self.CLASSES):
            raise OptionError(
                f'{source} has {len(classes)} classes, but `classes` names {len(self.CLASSES)}: leave it out, or name '
                f'{", ".join(classes[:20])}'
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.CLASSES)))
        if len(wrong):
            raise OptionError(
                f'{source}: labels must be 0 to {len(self.CLASSES) - 1}, got {labels[wrong[0]]} for image {wrong[0]} '
                f'({len(wrong)} labels of {len(labels)} are out of range)'
            )
        if images.ndim == 4 and images.shape[3] == 1:
            images = images[..., 0]
        return [dict(img=image, gt_label=int(label)) for image, label in zip(images, labels, strict=True)]


@DATASETS.register_module()
class SmallImageDataset(InMemoryDataset):
    """Images of one small size from a folder, an archive or an npz file, read once and kept in memory.

    A folder or an archive has one folder of images for each class; the classes are its names in alphabetic order. An
    npz file has `images`, `labels` and, if you like, `classes`; with `subset='train'`, `train_images` and so on.

    Each sample has `img`, (H, W, 3) in the order red, green, blue or (H, W) for grey images, and `gt_label`.

    Args:
        data_root: folder that `source` is in.
        source: folder, archive (tar, tar.gz, tar.xz, tar.bz2, zip) or npz file.
        subset: folder of the archive, or prefix of the arrays, to read; None reads all.
        grey: read files as grey images.
        classes: names of the classes, in the order of the labels; of a folder or an archive, exactly its folders.
        **kwargs: what MMPretrain's `BaseDataset` takes (`pipeline`, `indices`, `test_mode`, ...).

    Raises:
        MissingPathError: if the source is not there.
        OptionError: if it has another layout, images of several sizes, or labels out of range.
    """

    def __init__(
        self, data_root: str = '', *, source: str, subset: str | None = None, grey: bool = False, **kwargs: Any
    ) -> None:
        self.source = Path(data_root).expanduser() / source
        self.subset, self.grey = subset, grey
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read all images."""
        if not self.source.exists():
            hint = find_hint(f'{Path(self.data_root or "").name} SmallImageDataset')
            raise MissingPathError(
                f'{type(self).__name__}: {self.source.absolute()} does not exist; '
                f'{hint.format(root=self.data_root or "ROOT")}'
            )
        self._budget = MemoryBudget(self.source, 0 if self.source.is_dir() else self.source.stat().st_size)
        try:
            arrays = self._read_arrays() if self.source.suffix.lower() == '.npz' else self._decode()
        except OptionError:
            raise
        except (*_BROKEN, OSError, ValueError) as error:
            raise OptionError(f'{self.source} cannot be read; is it complete? {error}') from error
        return self.pack(*arrays, str(self.source))

    def _read_arrays(self) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
        prefix = f'{self.subset}_' if self.subset else ''
        with np.load(self.source, allow_pickle=False) as arrays:
            self._budget.take(sum(entry.file_size for entry in arrays.zip.infolist()))
            missing = [name for name in (f'{prefix}images', f'{prefix}labels') if name not in arrays]
            if missing:
                raise OptionError(
                    f'{self.source} has no array {" and no ".join(missing)}; it has: {", ".join(sorted(arrays))}'
                )
            classes = arrays['classes'].astype(str).tolist() if 'classes' in arrays else None
            return arrays[f'{prefix}images'], arrays[f'{prefix}labels'], classes

    def _decode(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        print_log(f'Reading the images of {self.source} ...', 'current')
        images, folders, size = [], [], None
        for path, data in self._files():
            image = self._decode_one(path, data)
            size = size or image.shape
            if image.shape != size:
                raise OptionError(
                    f'{self.source}: images must be of one size, got {image.shape[:2]} for {path} after {size[:2]}'
                )
            images.append(image)
            folders.append(path.parent.name)
        if not images:
            where = f' below a folder {self.subset!r}' if self.subset else ''
            raise OptionError(f'{self.source} holds no image{where}: needed is {_LAYOUTS}')
        found = sorted(set(folders))
        classes = found if self.CLASSES is None else list(self.CLASSES)
        if set(classes) != set(found):
            raise OptionError(
                f'{self.source} has the class folders {", ".join(found[:20])}, but `classes` names '
                f'{", ".join(classes[:20])}'
            )
        print_log(f'Read {len(images)} images of {len(classes)} classes.', 'current')
        index = {name: label for label, name in enumerate(classes)}
        return np.stack(images), np.array([index[folder] for folder in folders]), classes

    def _decode_one(self, path: PurePosixPath, data: bytes) -> np.ndarray:
        try:
            image = Image.open(io.BytesIO(data))
            self._budget.take(image.width * image.height * (1 if self.grey else 3))
            return np.asarray(image.convert('L' if self.grey else 'RGB'))
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise OptionError(f'{self.source}: {path} cannot be read as an image: {error}') from error

    def _files(self) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Yield path and content of each image of the subset that is in a class folder, in the order of the paths."""
        if self.source.is_dir():
            files = _folder_files(self.source, self._budget)
        elif self.source.name.lower().endswith(TAR_SUFFIXES):
            files = sorted(_tar_files(self.source, self._budget))
        elif self.source.suffix.lower() == '.zip':
            files = _zip_files(self.source, self._budget)
        else:
            raise OptionError(f'source must be {_LAYOUTS}, got {self.source}')
        for path, data in files:
            if len(path.parts) > 1 and (self.subset is None or self.subset in path.parts[:-2]):
                yield path, data

    def extra_repr(self) -> list[str]:
        return [f'Source: \t{self.source}', f'Subset: \t{self.subset}']


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not PurePosixPath(name).name.startswith('.')


def _folder_files(folder: Path, budget: MemoryBudget) -> Iterator[tuple[PurePosixPath, bytes]]:
    for path in sorted(folder.rglob('*')):
        if _is_image(path.name) and path.is_file():
            budget.packed += path.stat().st_size
            yield PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes()


def _tar_files(archive: Path, budget: MemoryBudget) -> Iterator[tuple[PurePosixPath, bytes]]:
    if archive.suffix.lower() == '.tar':
        with archive.open('rb') as file:  # tarfile takes an early end of the file for the end of the archive
            file.seek(max(archive.stat().st_size - tarfile.BLOCKSIZE, 0))
            if any(file.read()):
                raise tarfile.ReadError('the end is missing')
    # As a stream: a compressed archive cannot be read out of order without unpacking it again and again.
    with tarfile.open(archive, 'r|*') as tar:
        for member in tar:
            if member.isfile() and _is_image(member.name):
                budget.take(member.size)
                yield PurePosixPath(member.name), tar.extractfile(member).read()


def _zip_files(archive: Path, budget: MemoryBudget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(archive) as content:
        for name in sorted(filter(_is_image, content.namelist())):
            budget.take(content.getinfo(name).file_size)
            yield PurePosixPath(name), content.read(name)


@DATASETS.register_module()
class HandwrittenDigits(InMemoryDataset):
    """The 1,797 real handwritten digits of scikit-learn, 8x8 pixels, 10 classes: nothing is downloaded.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits". The split is fixed: the first 1,297 to
    train, the last 500 to test. It does not shuffle, as neighbors are often of one hand. ``'all'`` is for a
    :class:`~mmseg_isda.engine.SubsetDataset`, which draws its own split.

    Each sample has `img`, (8, 8) from 0 to 255, and `gt_label`.

    Args:
        split: `'train'`, `'test'` or `'all'`.
        **kwargs: what MMPretrain's `BaseDataset` takes (`pipeline`, `indices`, `test_mode`, ...).

    Raises:
        ValueError: if there is no such split.
        ImportError: if scikit-learn is not installed.
    """

    METAINFO = dict(classes=tuple('0123456789'))
    PARTS = dict(train=slice(None, 1297), test=slice(1297, None), all=slice(None))

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        check_choice('split', split, self.PARTS)
        self.split = split
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the digits that come with scikit-learn."""
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError(
                "HandwrittenDigits needs scikit-learn, which holds the images: pip install -e '.[analysis]', or "
                'pip install scikit-learn'
            ) from error
        digits = load_digits()
        part = self.PARTS[self.split]
        images = np.round(digits.images[part] * (255 / 16)).astype(np.uint8)  # stored as 0 to 16
        return self.pack(images, digits.target[part], None, type(self).__name__)


@DATASETS.register_module()
class SVHN(InMemoryDataset):
    """House numbers (ufldl.stanford.edu/housenumbers): 73,257 images to train, 26,032 to test, 32x32 pixels.

    Each sample has ``img``, (32, 32, 3) in the order red, green, blue, and ``gt_label``.

    Args:
        data_root: folder of ``train_32x32.mat`` and ``test_32x32.mat``.
        split: ``'train'``, ``'extra'`` or ``'test'``.
        download: fetch files that are not there.
        **kwargs: of MMPretrain's ``BaseDataset`` (``pipeline``, ``indices``, ``test_mode``, ...).

    Raises:
        ValueError: if there is no such split.
        OptionError: if the file is not there, or damaged.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, data_root: str = '', split: str = 'train', download: bool = True, **kwargs: Any) -> None:
        check_choice('split', split, ('train', 'extra', 'test'))
        self.split, self.download = split, download
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the images of the split."""
        try:
            if self.download and is_main_process():
                tv.SVHN(self.data_root, self.split, download=True)
            barrier()
            source = tv.SVHN(self.data_root, self.split)
        except (RuntimeError, OSError) as error:
            raise OptionError(f'SVHN: {self.data_root}/{self.split}_32x32.mat cannot be read: {error}') from error
        images = np.ascontiguousarray(source.data.transpose(0, 2, 3, 1))
        return self.pack(images, source.labels, None, type(self).__name__)
