"""ZCA whitening of small images, as the semi-supervised experiments on CIFAR have it."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from mmengine.utils import track_iter_progress
from mmpretrain.registry import DATASETS

from ...engine.subset import PartDataset
from ...errors import MissingPathError, OptionError
from ...files import write_bytes

IMAGES_AT_A_TIME = 2500
# Directions with less of the largest variance carry nothing but rounding, e.g. pixels that are always black.
SMALLEST_SHARE = 1e-10


def zca_matrix(images: np.ndarray, regularization: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    r"""Fit the whitening that changes images least.

    .. math:: x \mapsto U (S^{-1/2} + r) U^T (x - \mu), \qquad \mathrm{Cov}(x) = U S U^T

    Args:
        images: (N, D).
        regularization: r.

    Returns:
        The mean (D,) and the symmetric matrix (D, D), in float32. Directions without variance are dropped.
    """
    mean = images.mean(0, dtype=np.float64)
    covariance = np.zeros((images.shape[1],) * 2)
    for start in range(0, len(images), IMAGES_AT_A_TIME):
        centered = images[start : start + IMAGES_AT_A_TIME] - mean
        covariance += centered.T @ centered
    values, vectors = np.linalg.eigh(covariance / len(images))
    alive = values > SMALLEST_SHARE * values[-1]
    scale = np.where(alive, 1 / np.sqrt(np.where(alive, values, 1)) + regularization, 0)
    return mean.astype(np.float32), (vectors * scale @ vectors.T).astype(np.float32)


@DATASETS.register_module()
class ZCADataset(PartDataset):
    """A data set whose images are normalized by channel and whitened, once and for all, before its pipeline.

    Each sample has ``img``, float32 of the shape it had.

    Args:
        dataset: config of a data set of small images, or itself.
        matrix: npz file of the whitening. With ``fit=True`` it is made from the images of this data set if it is
            not there; the validation set reads it.
        fit: for the training set.
        mean: of each channel, subtracted before.
        std: of each channel, divided by.
        regularization: see :func:`zca_matrix`.
        pipeline: in place of that of the data set.

    Raises:
        MissingPathError: if the file is not there and ``fit`` is False.
        OptionError: if it was fitted to other images, or other ``mean``, ``std`` or ``regularization``.
    """

    registry = DATASETS

    def __init__(
        self,
        dataset: Any,
        matrix: str,
        mean: Sequence[float],
        std: Sequence[float],
        fit: bool = False,
        regularization: float = 1e-6,
        pipeline: list | None = None,
    ) -> None:
        super().__init__(dataset, pipeline=pipeline)
        images = np.stack([self.dataset.get_data_info(index)['img'] for index in range(len(self.dataset))])
        flat = ((images - np.float32(mean)) / np.float32(std)).astype(np.float32).reshape(len(images), -1)
        settings = np.array([zlib.crc32(images) if fit else 0, regularization, *mean, *std])
        center, whitening = _open_matrix(Path(matrix), flat, settings, fit)
        parts = np.array_split(flat, -(-len(flat) // IMAGES_AT_A_TIME))
        print_log(f'Whitening {len(flat)} images ...', 'current')
        white = np.concatenate([(part - center) @ whitening for part in track_iter_progress(parts)])
        self.white = white.reshape(images.shape)

    def get_data_info(self, index: int) -> dict:
        """See :class:`mmengine.dataset.BaseDataset`."""
        return dict(super().get_data_info(index), img=self.white[index].copy())


def _open_matrix(path: Path, flat: np.ndarray, settings: np.ndarray, fit: bool) -> tuple[np.ndarray, np.ndarray]:
    if fit and is_main_process() and not path.exists():
        print_log(f'Fitting ZCA to {flat.shape[0]} images of {flat.shape[1]} values: {path}', 'current')
        center, whitening = zca_matrix(flat, settings[1])
        content = io.BytesIO()
        np.savez(content, mean=center, matrix=whitening, settings=settings)
        write_bytes(content.getvalue(), path)
    barrier()
    if not path.exists():
        raise MissingPathError(f'{path} does not exist: training fits it (ZCADataset with fit=True)')
    with np.load(path, allow_pickle=False) as arrays:
        center, whitening, found = arrays['mean'], arrays['matrix'], arrays['settings']
    skip = 0 if fit else 1  # The images are those of the training set.
    if center.shape != flat.shape[1:] or not np.array_equal(found[skip:], settings[skip:]):
        raise OptionError(
            f'{path} was fitted to other images or settings (checksum, regularization, mean and std: '
            f'{found.tolist()}) than these ({settings.tolist()}): give another file, or delete it to fit anew'
        )
    return center, whitening
