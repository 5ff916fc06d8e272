"""Training sets of which a few images keep their labels."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS
from torch.utils.data import ConcatDataset

from ...engine.subset import PartDataset, choose
from ...errors import OptionError
from ...files import write_bytes

PARTS = ('labeled', 'unlabeled', 'held_out')


def draw_split(labels: np.ndarray, num_labeled: int, seed: int) -> dict[str, Any]:
    """Draw which of (N,) labels are kept, equally many of each class, the same for a seed on every machine.

    Returns:
        What a split file holds: the places of the images, ``labeled``, and what tells the data set that they belong to.

    Raises:
        OptionError: if there are fewer labels than classes, or too few images of a class.
    """
    num_classes = len(np.unique(labels))
    if num_labeled < num_classes:
        raise OptionError(f'num_labeled={num_labeled} leaves some of the {num_classes} classes without any label')
    labeled = choose(labels, num_labeled, seed, option='num_labeled')
    return dict(**_fingerprint(labels), num_labeled=num_labeled, seed=seed, labeled=labeled.tolist())


def _fingerprint(labels: np.ndarray) -> dict[str, int]:
    return dict(num_images=len(labels), labels_crc32=zlib.crc32(np.asarray(labels, '<i8').tobytes()))


def _read_split(path: Path, labels: np.ndarray) -> dict[str, Any]:
    """Read a split file; raise OptionError for another file, or one of another data set than that of the labels."""
    try:
        split = json.loads(path.read_text())
        labeled = np.array(split['labeled'], dtype=np.int64)
        found = {name: split[name] for name in ('num_images', 'labels_crc32')}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise OptionError(f'{path} is no split file of tools/make_split.py: {error!r}') from error
    if found != _fingerprint(labels):
        raise OptionError(f'{path} belongs to another data set: it has {found}, this one {_fingerprint(labels)}')
    different = len(labeled) and len(np.unique(labeled)) == len(labeled)
    if not (different and 0 <= labeled.min() <= labeled.max() < len(labels)):
        raise OptionError(f'{path}: labeled must be different places in [0, {len(labels)}), at least one')
    return split


@DATASETS.register_module()
class LabelSplitDataset(PartDataset):
    """One part of a training set of which ``num_labeled`` images keep their labels.

    Args:
        dataset: the whole training set, or its config.
        part: ``'labeled'``, ``'unlabeled'`` (all others; their labels are removed) or ``'held_out'``.
        num_labeled: labels that are kept, equally many of each class.
        seed: of the draw.
        split_file: where the draw is kept. It is made if it is not there, and read if it is: it must then
            have been drawn with the same ``num_labeled`` and ``seed``. ``{num_labeled}`` and ``{seed}`` in the name are
            filled in. None draws without a file.
        hold_out: labeled images, equally many of each class, that are kept from training to choose settings by.
        hold_out_seed: of that choice.
        pipeline: in place of that of the data set.

    Raises:
        OptionError: if an option is out of range, or does not fit the split file.
    """

    registry = DATASETS

    def __init__(
        self,
        dataset: Any,
        part: str,
        num_labeled: int,
        seed: int = 0,
        split_file: str | None = None,
        hold_out: int = 0,
        hold_out_seed: int = 0,
        pipeline: list | None = None,
    ) -> None:
        if part not in PARTS:
            raise OptionError(f'part must be one of {", ".join(map(repr, PARTS))}, got {part!r}')
        super().__init__(dataset, pipeline=pipeline)
        self.part = part
        labels = self.get_gt_labels()
        labeled = np.sort(np.array(_open_split(labels, num_labeled, seed, split_file)['labeled']))
        held_out = np.array([], dtype=np.int64)
        if hold_out:
            held_out = labeled[choose(labels[labeled], hold_out, hold_out_seed, option='hold_out')]
        unlabeled = np.setdiff1d(self.indices, labeled)
        parts = dict(labeled=np.setdiff1d(labeled, held_out), held_out=held_out, unlabeled=unlabeled)
        self.indices = parts[part]
        if not len(self):
            raise OptionError(
                f'the part {part!r} has no images: {num_labeled} of {len(labels)} images are labeled and {hold_out} of '
                f'those held out'
            )

    def get_data_info(self, index: int) -> dict:
        """See :class:`mmengine.dataset.BaseDataset`; without the label, if that is to be unknown."""
        info = super().get_data_info(index)
        if self.part == 'unlabeled':
            info.pop('gt_label', None)
        return info


def _open_split(labels: np.ndarray, num_labeled: int, seed: int, split_file: str | None) -> dict[str, Any]:
    if split_file is None:
        return draw_split(labels, num_labeled, seed)
    path = Path(split_file.format(num_labeled=num_labeled, seed=seed))
    if not path.exists():
        write_bytes((json.dumps(draw_split(labels, num_labeled, seed)) + '\n').encode(), path)
        print_log(f'Drew {num_labeled} labeled images of {len(labels)} with seed {seed}: {path}', 'current')
    split = _read_split(path, labels)
    drawn = {name: split.get(name) for name in ('num_labeled', 'seed')}
    if drawn != dict(num_labeled=num_labeled, seed=seed):
        raise OptionError(
            f'{path} was drawn with {drawn}, but the config has num_labeled={num_labeled} and seed={seed}: give the '
            f'same, or another split_file'
        )
    return split


@DATASETS.register_module()
class SemiSupervisedDataset(ConcatDataset):
    """Both parts of a training set for ``MultiSourceSampler``: source 0 is labeled, source 1 is not.

    Args:
        dataset: the whole training set, or its config.
        sup_pipeline: transforms of the labeled images.
        unsup_pipeline: transforms of the unlabeled ones.
        **split: ``num_labeled``, ``seed``, ``split_file``, ``hold_out``, ``hold_out_seed`` of
            :class:`LabelSplitDataset`.

    Raises:
        OptionError: see :class:`LabelSplitDataset`.
    """

    def __init__(self, dataset: Any, sup_pipeline: list, unsup_pipeline: list, **split: Any) -> None:
        whole = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        pipelines = dict(labeled=sup_pipeline, unlabeled=unsup_pipeline)
        super().__init__(
            LabelSplitDataset(whole, part, pipeline=pipeline, **split) for part, pipeline in pipelines.items()
        )

    @property
    def metainfo(self) -> dict:
        """Return that of the whole data set."""
        return self.datasets[0].metainfo
