"""Street View House Numbers, which MMPretrain lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dist import barrier, is_main_process
from mmpretrain.registry import DATASETS
from torchvision import datasets as tv

from ..core.checks import check_choice
from ..errors import OptionError
from .datasets import InMemoryDataset

SPLITS = ('train', 'extra', 'test')


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
        check_choice('split', split, SPLITS)
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

    def extra_repr(self) -> list[str]:
        return [f'Split: \t{self.split}']
