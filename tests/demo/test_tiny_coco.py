"""The tiny data set: the same everywhere, whole or not at all, and what pycocotools and the toolkits read of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.tiny_coco import (
    CATEGORIES,
    count_objects,
    make_tiny_coco,
    render_crop,
    render_scene,
    run_lengths,
)
from mmseg_isda.errors import ExistingPathError, OptionError
from tests.demo.needs import skip_without_mmdet

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_tiny_coco.py'
SMALL = dict(train=4, val=3, crops=6, height=64, width=96)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp('tiny') / 'tiny_coco'
    assert make_tiny_coco(path, **SMALL) is True
    return path


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def _annotations(root: Path, split: str) -> dict:
    return json.loads((root / 'annotations' / f'instances_{split}.json').read_text())


# --- pictures --------------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_picture_and_another_seed_another():
    """Guards against hidden global state: numpy's global generator is moved in between."""
    image, instances = render_scene(5)
    np.random.seed(1)
    again, same = render_scene(5)
    assert np.array_equal(image, again) and image.shape == (160, 224, 3) and image.dtype == np.uint8
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(instances, same, strict=True))
    assert not np.array_equal(image, render_scene(6)[0])
    assert np.array_equal(render_crop(5, 2), render_crop(5, 2)) and render_crop(5, 2).shape == (64, 64, 3)


def test_masks_share_no_pixel_and_none_is_a_sliver():
    """Guards the order of painting: what lies on top must be cut out of what it covers, and must leave enough of it."""
    seen = set()
    for seed in range(40):
        _, instances = render_scene(seed)
        assert 1 <= len(instances) <= 6
        assert sum(instance.mask.astype(int) for instance in instances).max() <= 1
        assert min(instance.mask.sum() for instance in instances) > 60
        seen |= {instance.category for instance in instances}
    assert seen == set(range(len(CATEGORIES)))


def test_masks_lie_on_what_is_painted():
    """Guards a mask that is shifted or mirrored against its object: inside and outside must differ in colour."""
    edges = []
    for seed in range(20):
        image, instances = render_scene(seed)
        grey = cv2.GaussianBlur(image, (3, 3), 0).astype(float).mean(2)
        gradient = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1))
        for instance in instances:
            outline = cv2.morphologyEx(instance.mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
            shifted = np.roll(outline, 7, axis=1)
            edges.append(gradient[outline > 0].mean() / gradient[shifted > 0].mean())
    assert np.mean(np.array(edges) > 1.1) > 0.9


def test_run_lengths_against_a_literal_reading():
    """Guards COCO's order (down the columns) and its first run, which counts zeros."""
    masks = [np.zeros((3, 2), bool), np.ones((3, 2), bool), np.array([[1, 0], [0, 1], [1, 1]], bool)]
    masks += [np.random.default_rng(seed).random((7, 5)) < 0.4 for seed in range(5)]
    for mask in masks:
        runs = run_lengths(mask)
        pixels = [index % 2 for index, count in enumerate(runs['counts']) for _ in range(count)]
        assert np.array_equal(np.array(pixels).reshape(mask.shape[::-1]).T, mask)
        assert runs['size'] == list(mask.shape) and all(count > 0 for count in runs['counts'][1:])


# --- files -----------------------------------------------------------------------------------------------------------


def test_pycocotools_reads_what_was_painted(root):
    """Guards boxes, areas and masks of the file against each other, by another program's reading of them."""
    mask_tools = pytest.importorskip('pycocotools.mask')
    from pycocotools.coco import COCO

    for split, number in (('train', 4), ('val', 3)):
        coco = COCO(str(root / 'annotations' / f'instances_{split}.json'))
        assert [coco.cats[index]['name'] for index in sorted(coco.cats)] == list(CATEGORIES)
        assert sorted(coco.imgs) == list(range(1, number + 1))
        for annotation in coco.loadAnns(coco.getAnnIds()):
            mask = coco.annToMask(annotation)
            encoded = mask_tools.encode(np.asfortranarray(mask))
            assert mask_tools.toBbox(encoded).tolist() == annotation['bbox']
            assert mask.sum() == annotation['area'] == mask_tools.area(encoded)
        for image in coco.imgs.values():
            picture = cv2.imread(str(root / split / image['file_name']))
            assert picture.shape == (image['height'], image['width'], 3) == (64, 96, 3)


def test_the_truth_scores_full_marks(root):
    """Guards the whole format: pycocotools must give AP 1 to the truth itself, for boxes and masks."""
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO(str(root / 'annotations' / 'instances_train.json'))
    truth = [dict(coco.anns[index], score=0.9, segmentation=coco.annToRLE(coco.anns[index])) for index in coco.anns]
    for kind in ('bbox', 'segm'):
        scorer = COCOeval(coco, coco.loadRes([dict(one) for one in truth]), kind)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
        assert scorer.stats[0] == pytest.approx(1.0)


def test_mmdetection_reads_boxes_and_masks(root):
    """Guards the form of the masks: MMDetection silently skips those that it does not understand."""
    skip_without_mmdet()
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    register_all_modules()
    dataset = DATASETS.build(
        dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            metainfo=dict(classes=CATEGORIES),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='PackDetInputs', meta_keys=('img_id',)),
            ],
        )
    )
    content = _annotations(root, 'train')
    assert len(dataset) == 4
    for sample in dataset:
        truth = sample['data_samples'].gt_instances
        annotations = [one for one in content['annotations'] if one['image_id'] == sample['data_samples'].img_id]
        assert truth.labels.tolist() == [one['category_id'] - 1 for one in annotations]
        assert truth.masks.masks.sum((1, 2)).tolist() == [one['area'] for one in annotations]


def test_crops_are_a_data_set_of_mmpretrain(root):
    """Guards the folders' names: classes are numbered as the detector numbers its categories."""
    pytest.importorskip('mmpretrain')
    from mmpretrain.datasets import CustomDataset

    dataset = CustomDataset(data_root=str(root), data_prefix='crops/train', with_label=True)
    assert tuple(dataset.CLASSES) == CATEGORIES and len(dataset) == 6
    assert sorted(path.name for path in (root / 'crops' / 'val').rglob('*.png')) == ['000000.png', '000001.png']


def test_the_same_settings_give_the_same_files_and_the_splits_differ(root, tmp_path):
    assert make_tiny_coco(tmp_path / 'again', **SMALL) is True
    assert _contents(tmp_path / 'again') == _contents(root)
    pictures = [content for name, content in _contents(root).items() if name.endswith('.png')]
    assert len(set(pictures)) == len(pictures) == 4 + 3 + 6 + 2
    assert sum(counts['train'] for counts in count_objects(root).values()) == len(
        _annotations(root, 'train')['annotations']
    )


def test_nothing_is_made_twice_or_overwritten_unasked(tmp_path):
    root, small = tmp_path / 'set', SMALL | dict(train=1, val=1, crops=2)
    make_tiny_coco(root, **small)
    before = _contents(root)
    assert make_tiny_coco(root, **small) is False
    with pytest.raises(ExistingPathError, match=r'other settings \(seed 0, not 1\).*--overwrite'):
        make_tiny_coco(root, **small, seed=1)
    assert _contents(root) == before
    (root / 'notes.txt').write_text('mine')
    assert make_tiny_coco(root, **small | dict(crops=0), seed=1, overwrite=True) is True
    assert (root / 'notes.txt').read_text() == 'mine' and not list(root.rglob('crops/*/*/*.png'))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    """Guards a real COCO in the place of ours, even with overwrite=True."""
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_val.json').write_text('{"images": []}')
    for overwrite in (False, True):
        with pytest.raises(ExistingPathError, match='did not make'):
            make_tiny_coco(tmp_path, **SMALL, overwrite=overwrite)
    assert (tmp_path / 'annotations' / 'instances_val.json').read_text() == '{"images": []}'


def test_an_interrupted_set_is_made_anew(tmp_path):
    """Guards a set that is taken for whole although Ctrl-C ended it half way."""
    small = SMALL | dict(train=2, val=1, crops=0)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_tiny_coco(tmp_path / 'set', **small, tell=stop)
    assert make_tiny_coco(tmp_path / 'set', **small) is True
    make_tiny_coco(tmp_path / 'whole', **small)
    assert _contents(tmp_path / 'set') == _contents(tmp_path / 'whole')


def test_mistakes(tmp_path):
    with pytest.raises(OptionError, match='height must be at least 32, got 16'):
        make_tiny_coco(tmp_path / 'set', height=16)
    assert not (tmp_path / 'set').exists()
    done = subprocess.run(
        [sys.executable, TOOL, 'set', '--train', '0'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and 'error: train must be at least 1, got 0' in done.stderr
