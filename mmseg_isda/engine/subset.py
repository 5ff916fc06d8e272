"""A part of a data set that a seed chooses, for any toolkit: few labels, or images kept back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import DATASETS, Registry
from torch.utils.data import Dataset

from ..errors import OptionError

PARTS = ('chosen', 'rest')
MAX_REDRAWS = 1000


def choose(labels: Sequence[int] | np.ndarray, num_images: int, seed: int, *, option: str = 'num_images') -> np.ndarray:
    """Return the sorted indices of ``num_images`` items, equally many of each class.

    Where ``num_images`` is not a multiple of the number of classes, some classes, drawn at random, give one item more.
    With a single class this is a plain random choice. A seed gives the same choice on every machine.

    Args:
        labels: (N,) class of each item.
        num_images: items to choose.
        seed: of the choice.
        option: what a message calls ``num_images``.

    Raises:
        OptionError: if nothing or everything would be chosen, or all of a class.
    """
    labels = np.asarray(labels)
    if not 0 < num_images < len(labels):
        raise OptionError(f'{option} must be between 1 and {len(labels) - 1} (all images but one), got {num_images}')
    random = np.random.RandomState(seed)  # its stream is frozen for all versions of NumPy, default_rng's is not
    classes, counts = np.unique(labels, return_counts=True)
    shares = np.full(len(classes), num_images // len(classes))
    shares[random.permutation(len(classes))[: num_images % len(classes)]] += 1
    chosen = []
    for label, count, share in zip(classes, counts, shares, strict=True):
        if share >= count:
            raise OptionError(f'{option}={num_images} takes {share} images of class {label}, which has {count}')
        chosen.append(random.permutation(np.flatnonzero(labels == label))[:share])
    return np.sort(np.concatenate(chosen))


class PartDataset(Dataset):
    """Base of data sets that are a part of another one, of any toolkit; here all of it.

    Args:
        dataset: the data set or its config.
        pipeline: transforms in place of those of the data set.

    Attributes:
        registry: builds the data set.
        indices: places of the images of this part in the whole data set.
    """

    registry: Registry = DATASETS
    indices: np.ndarray

    def __init__(self, dataset: BaseDataset | dict, *, pipeline: Sequence[dict] | None = None) -> None:
        self.dataset = self.registry.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.dataset.full_init()
        self._pipeline = None if pipeline is None else Compose(pipeline)
        self.indices = np.arange(len(self.dataset))

    @property
    def metainfo(self) -> dict:
        """Return that of the whole data set."""
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Compose:
        """Return the transforms of an image."""
        return self.dataset.pipeline if self._pipeline is None else self._pipeline

    def full_init(self) -> None:
        """Do nothing: the data set is loaded already."""

    def get_data_info(self, index: int) -> dict:
        """See :class:`mmengine.dataset.BaseDataset`."""
        return self.dataset.get_data_info(int(self.indices[index]))

    def get_gt_labels(self) -> np.ndarray:
        """Return the (N,) classes of the images of this part, 0 where they have none."""
        return np.array([self.dataset.get_data_info(int(index)).get('gt_label', 0) for index in self.indices])

    def get_cat_ids(self, index: int) -> list[int]:
        """Return the class of an image, which MMPretrain's samplers and wrappers ask for."""
        return [int(self.get_data_info(index)['gt_label'])]

    def prepare_data(self, index: int) -> Any:
        """Return an image of this part after its transforms; None if they yield none."""
        return self.pipeline(self.get_data_info(index))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        """Return an image of this part; where its pipeline yields none, another one of this part."""
        for _ in range(MAX_REDRAWS):
            data = self.prepare_data(index)
            if data is not None:
                return data
            index = np.random.randint(len(self))
        raise RuntimeError(f'the pipeline yielded None {MAX_REDRAWS} times in a row: check its transforms')


@DATASETS.register_module()
class SubsetDataset(PartDataset):
    """Images of a data set that a seed chooses (``part='chosen'``), or all others (``part='rest'``).

    It serves few labels, and images that are held out of training to choose settings by.

    Where the images have a ``gt_label``, each class gives equally many. Ten labeled images a class to train on, the
    others to test on, different ones for each seed of ``tools/train.py --seed``:

        train_dataloader=dict(dataset=dict(type='SubsetDataset', part='chosen', num_images=100, dataset=...))
        val_dataloader=dict(dataset=dict(type='SubsetDataset', part='rest', num_images=100, dataset=...))

    Args:
        dataset: the data set or its config.
        num_images: images of the part ``'chosen'``; None takes all.
        part: ``'chosen'`` or ``'rest'``.
        seed: of the choice; None takes that of the run, which must then be set and equal on all ranks. The config in
            the work dir names it (``randomness.seed``), so that a later test keeps to the same images.
        pipeline: transforms that follow those of ``dataset``. What ``dataset`` yields is then computed once for each
            image and kept in memory, so its own pipeline must not be random.

    Raises:
        OptionError: if ``part`` is unknown, or ``num_images`` does not fit, see :func:`choose`.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict,
        num_images: int | None = None,
        *,
        part: str = 'chosen',
        seed: int | None = None,
        pipeline: Sequence[dict] | None = None,
    ) -> None:
        if part not in PARTS:
            raise OptionError(f'part must be one of {", ".join(map(repr, PARTS))}, got {part!r}')
        super().__init__(dataset)
        self.seed = torch.initial_seed() % 2**32 if seed is None else seed
        chosen = self.indices if num_images is None else choose(self.get_gt_labels(), num_images, self.seed)
        self.indices = chosen if part == 'chosen' else np.setdiff1d(self.indices, chosen)
        self._transforms = None if pipeline is None else Compose(pipeline)
        self._cache: dict[int, Any] = {}

    def prepare_data(self, index: int) -> Any:
        """Return an image of this part after its transforms; those of ``dataset`` run once."""
        read, place = getattr(self.dataset, 'prepare_data', self.dataset.__getitem__), int(self.indices[index])
        if self._transforms is None:
            return read(place)
        if index not in self._cache:
            self._cache[index] = read(place)
        return self._transforms(copy.deepcopy(self._cache[index]))
