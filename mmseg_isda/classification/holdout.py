"""A part of the training images kept back for validation, to choose hyper-parameters by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset, Compose
from mmpretrain.registry import DATASETS
from torch.utils.data import Dataset

from ..config_tree import iter_datasets
from ..core.checks import check_choice
from ..engine.subset import choose
from ..errors import OptionError

PARTS = ('train', 'val')
MAX_REDRAWS = 1000


def split_by_class(labels: Sequence[int], num_val: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Splits images into two parts, of which the second has equally many of each class.

    Where ``num_val`` is no multiple of the number of classes, some classes, drawn by chance, give one image more.

    Args:
        labels: (N,) class of each image.
        num_val: images of the second part.
        seed: the same one gives the same parts, on every machine.

    Returns:
        Sorted indices of both parts, which are disjoint and together all images.

    Raises:
        ValueError: if a class has too few images, or nothing would be left to train on.
    """
    labels = np.asarray(labels)
    val = choose(labels, num_val, seed, option='num_val')
    train = np.setdiff1d(np.arange(len(labels)), val)
    lost = np.setdiff1d(labels, labels[train])
    if len(lost):
        raise OptionError(f'num_val={num_val} leaves no image of class {lost[0]} to train on: give a smaller num_val')
    return train, val


class SubsetDataset(Dataset):
    """Base of data sets that are a part of another one; here all of it.

    Args:
        dataset: the data set or its config; its images have a ``gt_label``.
        pipeline: transforms in place of those of the data set.
    """

    def __init__(self, dataset: BaseDataset | dict, *, pipeline: list | None = None) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        self._pipeline = None if pipeline is None else Compose(pipeline)
        self._indices = np.arange(len(self.dataset))

    @property
    def metainfo(self) -> dict:
        """That of the whole data set."""
        return self.dataset.metainfo

    @property
    def indices(self) -> np.ndarray:
        """Places of the images of this part in the whole data set."""
        return self._indices.copy()

    @property
    def pipeline(self) -> Compose:
        """The transforms of an image."""
        return self.dataset.pipeline if self._pipeline is None else self._pipeline

    def full_init(self) -> None:
        """Do nothing: the data set is loaded already."""

    def get_data_info(self, index: int) -> dict:
        """See :class:`mmengine.dataset.BaseDataset`."""
        return self.dataset.get_data_info(int(self._indices[index]))

    def get_gt_labels(self) -> np.ndarray:
        """(N,) classes of the images of this part."""
        return self.dataset.get_gt_labels()[self._indices]

    def get_cat_ids(self, index: int) -> list[int]:
        """Class of an image, which samplers and wrappers of MMPretrain ask for."""
        return self.dataset.get_cat_ids(int(self._indices[index]))

    def prepare_data(self, index: int) -> Any:
        """An image of this part after its transforms; None if they yield none."""
        return self.pipeline(self.get_data_info(index))

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Any:
        """An image of this part; where its pipeline yields none, another one of this part."""
        for _ in range(MAX_REDRAWS):
            data = self.prepare_data(index)
            if data is not None:
                return data
            index = np.random.randint(len(self))
        raise RuntimeError(f'the pipeline yielded None {MAX_REDRAWS} times in a row: check its transforms')


@DATASETS.register_module()
class HoldOutDataset(SubsetDataset):
    """One of two parts of a data set: ``'train'``, or a class-balanced ``'val'`` of ``num_val`` images.

    Both parts are disjoint and together the whole. For the paper's choice of lambda_0 on 5,000 images:

        train_dataloader=dict(dataset=dict(type='HoldOutDataset', part='train', dataset=dict(type='CIFAR10', ...)))
        val_dataloader=dict(dataset=dict(type='HoldOutDataset', part='val', dataset=dict(type='CIFAR10', ...)))

    with the same data set in both, each with its own pipeline.

    Args:
        dataset: the data set or its config; its images have a ``gt_label``.
        part: ``'train'`` or ``'val'``.
        num_val: images of the part ``'val'``.
        seed: of the split.

    Raises:
        ValueError: if ``part`` is unknown or ``num_val`` does not fit, see :func:`split_by_class`.
    """

    def __init__(self, dataset: BaseDataset | dict, part: str, num_val: int = 5000, seed: int = 0) -> None:
        check_choice('part', part, PARTS)
        super().__init__(dataset)
        self.part, self.num_val, self.seed = part, num_val, seed
        self._indices = split_by_class(self.dataset.get_gt_labels(), num_val, seed)[PARTS.index(part)]


def use_hold_out(cfg: Config, num_val: int = 5000, seed: int = 0) -> None:
    """Changes a config so that it trains on a part of its training images and validates on the rest of them.

    Args:
        cfg: the config; the validation keeps its pipeline and gets the images of ``train_dataloader``.
        num_val: images kept back; in semi-supervised training, labeled ones.
        seed: of the split.

    Raises:
        OptionError: if the config has no validation, or its training set is wrapped, so that it has no pipeline.
    """
    if not cfg.get('val_dataloader'):
        raise OptionError('the config has no val_dataloader, so there is no pipeline to validate with')
    whole = cfg.train_dataloader.dataset
    _, validated = next(iter_datasets(cfg.val_dataloader.dataset))
    if whole.get('type') == 'SemiSupervisedDataset':  # Labels are what is to be held out there.
        whole.update(hold_out=num_val, hold_out_seed=seed)
        split = {key: value for key, value in whole.items() if key not in ('type', 'sup_pipeline', 'unsup_pipeline')}
        pipeline = cfg.val_dataloader.dataset.get('pipeline') or validated.get('pipeline')
        held_out = ConfigDict(split, type='LabelSplitDataset', part='held_out', pipeline=pipeline)
        cfg.val_dataloader = ConfigDict(cfg.val_dataloader, dataset=held_out)
        return
    if 'pipeline' not in whole:
        raise OptionError(
            f'train_dataloader.dataset is a {whole.get("type")} without a pipeline of its own: name the data set itself'
        )
    common = dict(type='HoldOutDataset', num_val=num_val, seed=seed)
    held_out = ConfigDict(whole.copy(), pipeline=validated.get('pipeline'))
    # New loaders, as configs like to say test_dataloader = val_dataloader.
    cfg.val_dataloader = ConfigDict(cfg.val_dataloader, dataset=ConfigDict(common, part='val', dataset=held_out))
    cfg.train_dataloader = ConfigDict(cfg.train_dataloader, dataset=ConfigDict(common, part='train', dataset=whole))
