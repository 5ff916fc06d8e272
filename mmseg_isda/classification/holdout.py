"""A part of the training images kept back for validation, to choose hyper-parameters by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmpretrain.registry import DATASETS

from ..config_tree import iter_datasets
from ..core.checks import check_choice
from ..engine.subset import PartDataset, choose
from ..errors import OptionError

PARTS = ('train', 'val')


def split_by_class(labels: Sequence[int], num_val: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split images into two parts, of which the second has equally many of each class.

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


@DATASETS.register_module()
class HoldOutDataset(PartDataset):
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

    registry = DATASETS

    def __init__(self, dataset: BaseDataset | dict, part: str, num_val: int = 5000, seed: int = 0) -> None:
        check_choice('part', part, PARTS)
        super().__init__(dataset)
        self.part, self.num_val, self.seed = part, num_val, seed
        self.indices = split_by_class(self.get_gt_labels(), num_val, seed)[PARTS.index(part)]


def use_hold_out(cfg: Config, num_val: int = 5000, seed: int = 0) -> None:
    """Change a config so that it trains on a part of its training images and validates on the rest of them.

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
