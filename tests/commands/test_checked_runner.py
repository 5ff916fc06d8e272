"""Data that cannot be used is named by its file; what is right passes unchanged (more in test_bad_inputs.py)."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose, LoadImageFromFile, TestTimeAug
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from torch import nn

from mmseg_isda.commands.checked_runner import CheckedRunner, CheckedTransform, LabelRange, check_label
from mmseg_isda.errors import DataError

LABELS = LabelRange(4, frozenset({255}))


def png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array)[1].tobytes()


class Images(BaseDataset):
    """As MMPretrain's data sets: images without labels of pixels."""

    def load_data_list(self) -> list[dict]:
        return [dict(img_path=self.ann_file)]


@pytest.fixture
def runner():
    made = CheckedRunner.__new__(CheckedRunner)
    made.model = nn.Identity()
    return made


@pytest.mark.parametrize('wrapper', [None, RepeatDataset, ConcatDataset])
def test_an_image_that_cannot_be_read_is_named_below_wrappers(runner, tmp_path, wrapper):
    """OpenCV says "!buf.empty()" and no name."""
    (tmp_path / 'a.jpg').touch()
    DATASETS.register_module(module=Images, force=True)
    dataset = Images(ann_file=str(tmp_path / 'a.jpg'), pipeline=[LoadImageFromFile()])
    if wrapper:
        dataset = wrapper(dataset, 2) if wrapper is RepeatDataset else wrapper([dataset])
    settings = dict(dataset=dataset, sampler=dict(type='DefaultSampler'), batch_size=1, num_workers=0)
    loader = runner.build_dataloader(settings)
    with pytest.raises(DataError, match=r'image .*a\.jpg cannot be read'):
        next(iter(loader))


def test_the_views_of_an_augmented_test_are_checked_too(tmp_path):
    from mmseg_isda.commands.checked_runner import _check_transforms

    (tmp_path / 'a.jpg').touch()
    view = [dict(type='LoadImageFromFile')]
    pipeline = Compose([TestTimeAug(transforms=[[dict(type='Compose', transforms=view)]])])
    _check_transforms(pipeline, None)
    with pytest.raises(DataError, match=r'a\.jpg cannot be read'):
        pipeline(dict(img_path=str(tmp_path / 'a.jpg')))


def test_a_checked_transform_is_handed_to_other_processes(tmp_path):
    """Data loaders that spawn their processes pickle it; the host reads attributes of the transform."""
    (tmp_path / 'a.png').write_bytes(png(np.full((4, 5, 3), 7, np.uint8)))
    checked = pickle.loads(pickle.dumps(CheckedTransform(LoadImageFromFile(color_type='grayscale'), LABELS)))
    assert checked.color_type == 'grayscale' and repr(checked) == repr(checked.transform)
    assert checked(dict(img_path=str(tmp_path / 'a.png')))['img'].tolist() == [[7] * 5] * 4
    broken = CheckedTransform(LoadImageFromFile(ignore_empty=True), None)
    assert broken(dict(img_path=str(tmp_path / 'gone.png'))) is None, 'the host is asked to leave such images out'


def label(value: int, dtype: type = np.uint8) -> np.ndarray:
    array = np.zeros((4, 5), dtype)
    array[0], array[1, 0] = 255, value
    return array


def test_classes_and_what_is_ignored_are_right(tmp_path):
    """Also in a 16-bit PNG, as long as its numbers fit 8 bits."""
    (tmp_path / 'a.png').write_bytes(png(label(3, np.uint16)))
    check_label(dict(gt_seg_map=label(3), ori_shape=(4, 5)), str(tmp_path / 'a.png'), LABELS)
    assert [LABELS.first_outside(label(value)) for value in (3, 4, 254, 255)] == [None, 4, 254, None]


def test_numbers_that_the_host_would_cut_to_8_bits(tmp_path):
    """256 + 1 was trained on as class 1."""
    (tmp_path / 'a.png').write_bytes(png(label(257, np.uint16)))
    with pytest.raises(DataError, match=r'a\.png has the value 257'):
        check_label(dict(gt_seg_map=label(1), ori_shape=(4, 5)), str(tmp_path / 'a.png'), LABELS)


def test_the_range_is_that_of_the_heads():
    class Head(nn.Module):
        def __init__(self, num_classes: int, ignore_index: int) -> None:
            super().__init__()
            self.num_classes, self.ignore_index = num_classes, ignore_index

    network = nn.ModuleList([Head(19, 255), Head(19, 254)])
    assert LabelRange.of(network) == LabelRange(19, frozenset({254, 255}))
    assert LabelRange.of(Head(1, 255)).num_classes == 2, 'a binary head has the labels 0 and 1'
    assert LabelRange.of(nn.Identity()) is None


@pytest.mark.parametrize('keep', [1.0, 0.9, 0.5])
def test_a_jpeg_that_is_cut_short_is_named(tmp_path, keep):
    """Some decoders fill the rest with gray and say nothing."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = cv2.imencode('.jpg', noise)[1].tobytes()
    path = tmp_path / 'a.jpg'
    path.write_bytes(whole[: int(keep * len(whole))] + b'\0' * 100)  # as some cameras pad
    lenient = CheckedTransform(lambda results: results | dict(img=noise), None)
    if keep == 1:
        assert lenient(dict(img_path=str(path)))['img'] is noise
    else:
        with pytest.raises(DataError, match=r'a\.jpg is cut short'):
            lenient(dict(img_path=str(path)))
