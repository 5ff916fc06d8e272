"""A runner whose data sets name the file where an image or a label cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import DataError, UserError
from ..files import first_line

WIDE_PNG = b'\x10'  # bits of a channel, at byte 24
JPEG_BEGIN, JPEG_END, JPEG_TAIL = b'\xff\xd8', b'\xff\xd9', 1 << 12  # some programs write after the end


class CheckedRunner(Runner):
    """MMEngine's runner; the transforms of its data sets that read files are checked."""

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """See the base class."""
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        labels = LabelRange.of(self.model)
        for dataset in _data_sets(loader.dataset):
            _check_transforms(getattr(dataset, 'pipeline', None), labels)
        return loader


def _data_sets(dataset: Any) -> Iterator[Any]:
    yield dataset
    inner = getattr(dataset, 'dataset', None)
    for item in getattr(dataset, 'datasets', None) or ([] if inner is None else [inner]):
        yield from _data_sets(item)


def _check_transforms(pipeline: Any, labels: LabelRange | None) -> None:
    """Wrap the transforms that read files, also those within Compose and TestTimeAug."""
    for name in ('transforms', 'subroutines'):
        transforms = getattr(pipeline, name, None)
        if not isinstance(transforms, list):
            continue
        for place, transform in enumerate(transforms):
            if type(transform).__name__.startswith('Load'):
                transforms[place] = CheckedTransform(transform, labels)
            else:
                _check_transforms(transform, labels)


@dataclass(frozen=True)
class LabelRange:
    """Values that the heads of a segmentation network take: below ``num_classes``, or ignored."""

    num_classes: int
    ignored: frozenset[int]

    @classmethod
    def of(cls, model: nn.Module) -> LabelRange | None:
        """Return the range of a model; ``None`` if it has no heads of segmentation."""
        heads = [part for part in model.modules() if hasattr(part, 'num_classes') and hasattr(part, 'ignore_index')]
        if not heads:
            return None
        # A head of one class decides between 0 and 1.
        return cls(max(2, *(head.num_classes for head in heads)), frozenset(head.ignore_index for head in heads))

    def first_outside(self, label: np.ndarray) -> int | None:
        """Return a value that is neither a class nor ignored, if there is one."""
        values = label[label >= self.num_classes]
        outside = values[~np.isin(values, [*self.ignored])]
        return int(outside[0]) if len(outside) else None


class CheckedTransform:
    """A transform that reads a file, and names it where that fails or yields a label that cannot be right."""

    def __init__(self, transform: Any, labels: LabelRange | None) -> None:
        self.transform, self.labels = transform, labels

    def __call__(self, results: dict) -> dict | None:
        """Run the transform; DataError names the file."""
        is_label = 'Annotation' in type(self.transform).__name__ and bool(results.get('seg_map_path'))
        path = results.get('seg_map_path' if is_label else 'img_path')
        try:
            loaded = self.transform(results)
            if is_label and loaded is not None:
                check_label(loaded, path, self.labels)
            if path and os.path.isfile(path) and _is_cut_jpeg(path):
                raise DataError(f'image {path} is cut short: copy or download it again')
        except UserError:
            raise
        except Exception as error:
            what, reason = 'label' if is_label else 'image', f'{type(error).__name__}: {first_line(error)}'
            raise DataError(f'{what} {path} cannot be read ({reason})') from error
        return loaded

    def __getattr__(self, name: str) -> Any:
        if name == 'transform':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.transform, name)

    def __repr__(self) -> str:
        return repr(self.transform)


def check_label(loaded: Mapping[str, Any], path: str, labels: LabelRange | None) -> None:
    """Raise DataError for a label that has channels, another size than its image, or values of no class."""
    label, size = loaded.get('gt_seg_map'), loaded.get('ori_shape')
    if label is None:
        return
    if label.ndim != 2:
        advice = 'store class numbers in a one-channel PNG, not colors'
        raise DataError(f'label {path} has {label.shape[-1]} channels: {advice}')
    if size is not None and label.shape != tuple(size[:2]):
        raise DataError(f'label {path} is {label.shape[0]}x{label.shape[1]}, but its image {size[0]}x{size[1]} pixels')
    value = _wide_value(path) if labels else None
    if value is None and labels:
        value = labels.first_outside(label)
    if value is not None:
        ignored = ', '.join(map(str, sorted(labels.ignored)))
        raise DataError(
            f'label {path} has the value {value}, but there are {labels.num_classes} classes and {ignored} is ignored: '
            f'check num_classes, ignore_index and reduce_zero_label'
        )


def _is_cut_jpeg(path: str) -> bool:
    """Return whether a JPEG file lacks the mark of its end: decoders fill in the rest with gray."""
    with open(path, 'rb') as file:
        if file.read(2) != JPEG_BEGIN:
            return False
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - JPEG_TAIL))
        return JPEG_END not in file.read()


def _wide_value(path: str) -> int | None:
    """Return a value above 255 of a 16-bit PNG, which the host would cut to 8 bits."""
    if not os.path.isfile(path):
        return None
    with open(path, 'rb') as file:
        if file.read(25)[24:] != WIDE_PNG:
            return None
    from PIL import Image

    highest = int(np.asarray(Image.open(path)).max())
    return highest if highest > 255 else None


class TestingRunner(CheckedRunner):
    """A checked runner that leaves the config in the work dir to the training; the log has that of the test."""

    def dump_config(self) -> None:
        """Write nothing."""
