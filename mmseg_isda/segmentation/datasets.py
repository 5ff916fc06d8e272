"""CamVid, for MMSegmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..toolkits import find_hint

_VOID = 11
_IGNORED = 255
_HOW_TO_GET = f'To get CamVid, {find_hint("camvid").format(root="data/camvid")}, or set data_root.'


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid's road scenes, 11 classes, in the layout of the SegNet tutorial.

    Images lie in `data_root/{train,val,test}`, labels of the same name in `data_root/{train,val,test}annot` as
    single-channel PNGs with 0..10 for the classes and 11 for void. Void becomes 255 as the labels are loaded, so
    that every loss and metric ignores it with its default `ignore_index`.

    Args:
        img_suffix: '.png' or '.jpg'; None finds out which of them the folder holds.
        **kwargs: what `BaseSegDataset` takes (`data_root`, `data_prefix`, `pipeline`, ...).

    Raises:
        FileNotFoundError: a folder is missing, holds no image, or lacks labels.
        ValueError: the folder holds both kinds of image and `img_suffix` does not choose.
    """

    METAINFO = dict(
        classes=(
            'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence', 'car', 'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222], [128, 128, 0],
            [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
        ],
    )  # fmt: skip

    def __init__(self, *, img_suffix: str | None = None, seg_map_suffix: str = '.png', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Map of stored to trained labels: the host's, and void to 255."""
        return {**(super().get_label_map(new_classes) or {}), _VOID: _IGNORED}

    def load_data_list(self) -> list[dict]:
        """List the images of the folder with their labels."""
        images, labels = self.data_prefix['img_path'], self.data_prefix.get('seg_map_path')
        for folder in (images, labels):
            if folder is not None and not fileio.isdir(folder, backend_args=self.backend_args):
                raise FileNotFoundError(f'CamVid folder {folder!r} does not exist. {_HOW_TO_GET}')
        suffixes = (self.img_suffix,) if self.img_suffix else ('.png', '.jpg')
        present = {name[-4:] for name in self._names(images, suffixes)}
        if not present:
            raise FileNotFoundError(f'CamVid folder {images!r} holds no {" or ".join(suffixes)} image. {_HOW_TO_GET}')
        if len(present) > 1:
            raise ValueError(
                f'CamVid folder {images!r} holds both .png and .jpg images: set img_suffix to the one to read'
            )
        self.img_suffix = self.img_suffix or present.pop()
        data_list = super().load_data_list()
        if not data_list:
            raise FileNotFoundError(f'CamVid: {self.ann_file!r} names no image of {images!r}')
        if labels is not None:
            self._check_labels(labels, data_list)
        return data_list

    def _check_labels(self, folder: str, data_list: list[dict]) -> None:
        present = {fileio.join_path(folder, name) for name in self._names(folder, self.seg_map_suffix)}
        missing = [info['seg_map_path'] for info in data_list if info['seg_map_path'] not in present]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(data_list)} CamVid images have no label in {folder!r}; '
                f'the first that is missing is {missing[0]!r}. {_HOW_TO_GET}'
            )

    def _names(self, folder: str, suffix: str | tuple[str, ...]) -> Iterator[str]:
        where = dict(list_dir=False, recursive=True, backend_args=self.backend_args)
        return fileio.list_dir_or_file(folder, suffix=suffix, **where)
