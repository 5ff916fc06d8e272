"""Label splits: which images keep their labels, and what an unlabeled image still tells."""

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from mmseg_isda.classification.holdout import use_hold_out
from mmseg_isda.classification.semi.data import LabelSplitDataset, SemiSupervisedDataset, draw_split
from mmseg_isda.engine.semi import MultiSourceSampler
from mmseg_isda.errors import OptionError

DIGITS = dict(type='HandwrittenDigits', split='train')
FIELD = ['sup', 'unsup_student']
PACK = dict(type='PackInputs')


@pytest.fixture(autouse=True)
def scope():
    pytest.importorskip('sklearn')
    init_default_scope('mmpretrain')


def part(name, **options):
    return LabelSplitDataset(DIGITS, name, **{'num_labeled': 30, 'pipeline': [PACK], **options})


def test_a_draw_is_balanced_and_seeded():
    """Guards Table 6's draws: equally many of each class, the same for all methods, others for another seed."""
    labels = np.repeat(np.arange(4), 25)
    split = draw_split(labels, 12, seed=3)
    assert Counter(labels[split['labeled']].tolist()) == dict.fromkeys(range(4), 3)
    assert draw_split(labels, 12, seed=3) == split and draw_split(labels, 12, seed=4)['labeled'] != split['labeled']
    assert sorted(Counter(labels[draw_split(labels, 10, seed=0)['labeled']].tolist()).values()) == [2, 2, 3, 3]


def test_parts_are_disjoint_and_together_the_whole():
    """Guards against labels that leak, and held-out images that are trained on."""
    parts = {name: set(part(name, hold_out=10).indices.tolist()) for name in ('labeled', 'held_out', 'unlabeled')}
    assert [len(places) for places in parts.values()] == [20, 10, 1267]
    assert set.union(*parts.values()) == set(range(1297))
    held_out = part('held_out', hold_out=10)
    assert Counter(held_out.get_gt_labels().tolist()) == dict.fromkeys(range(10), 1)


def test_an_unlabeled_image_tells_its_place_and_not_its_class():
    """Guards the experiment itself, and the index of temporal ensembling."""
    unlabeled = part('unlabeled')
    sample = unlabeled[5]['data_samples']
    assert 'gt_label' not in sample and sample.sample_idx == unlabeled.indices[5]
    labeled = part('labeled')
    assert int(labeled[5]['data_samples'].gt_label) == labeled.get_gt_labels()[5]


def test_both_parts_for_the_sampler():
    """Guards the order of the sources, and one draw for both."""
    pipelines = dict(
        sup_pipeline=[dict(type='MultiBranch', branch_field=FIELD, sup=PACK)],
        unsup_pipeline=[dict(type='MultiBranch', branch_field=FIELD, unsup_student=PACK)],
    )
    both = DATASETS.build(dict(type='SemiSupervisedDataset', dataset=DIGITS, num_labeled=30, seed=2, **pipelines))
    assert isinstance(both, SemiSupervisedDataset) and [len(source) for source in both.datasets] == [30, 1267]
    assert not set(both.datasets[0].indices) & set(both.datasets[1].indices)
    assert both[0]['inputs']['unsup_student'] is None and both[30]['inputs']['sup'] is None
    assert both.metainfo['classes'] == tuple('0123456789')
    assert MultiSourceSampler(both, 8, [1, 1]).num_per_source == [4, 4]


def test_a_split_file_is_made_once_and_then_read(tmp_path):
    """Guards the sharing of splits: what the file says counts."""
    file = str(tmp_path / 'splits' / 'digits_{num_labeled}_{seed}.json')
    first = part('labeled', split_file=file, seed=7)
    path = tmp_path / 'splits' / 'digits_30_7.json'
    split = json.loads(path.read_text())
    assert split['labeled'] == first.indices.tolist() and split['num_images'] == 1297
    changed = split | dict(labeled=[0, 1, 2])
    path.write_text(json.dumps(changed))
    assert part('labeled', split_file=file, seed=7).indices.tolist() == [0, 1, 2]
    assert len(part('unlabeled', split_file=file, seed=7)) == 1294


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_images=5), 'belongs to another data set'),
        (dict(labels_crc32=5), 'belongs to another data set'),
        (dict(labeled=[1, 1]), r'labeled must be different places in \[0, 1297\)'),
        (dict(labeled=[1297]), 'labeled must be different places'),
        (dict(labeled=[]), 'labeled must be different places'),
        (dict(labeled='many'), 'is no split file'),
        (dict(seed=4), "was drawn with {'num_labeled': 30, 'seed': 4}, but the config has num_labeled=30 and seed=0"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused(change, message, tmp_path):
    """Guards against labels of other images, as after a new version of the data."""
    path = tmp_path / 'split.json'
    part('labeled', split_file=str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OptionError, match=message.replace('{', r'\{').replace('}', r'\}')):
        part('labeled', split_file=str(path))
    path.write_bytes(b'\x00')
    with pytest.raises(OptionError, match='is no split file'):
        part('labeled', split_file=str(path))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_labeled=9), 'num_labeled=9 leaves some of the 10 classes without any label'),
        (dict(num_labeled=1296), 'num_labeled=1296 takes [0-9]+ images of class'),
        (dict(hold_out=30), 'hold_out must be between 1 and 29'),
        (dict(part='test'), "part must be one of 'labeled', 'unlabeled', 'held_out', got 'test'"),
        (dict(part='held_out'), "the part 'held_out' has no images"),
    ],
)
def test_draws_that_cannot_be_are_named(options, message):
    """Guards fewer labels than classes, above all."""
    with pytest.raises((OptionError, ValueError), match=message):
        part(**{'name': options.pop('part', 'labeled'), **options})


def test_labels_are_held_out_to_choose_settings_by():
    """Guards the search of lambda_0, eta_1 and eta_2: it validates on labels that training does not see."""
    cfg = Config.fromfile('configs/digits/semi/pi_resnet8_digits-50.py')
    use_hold_out(cfg, 10, seed=1)
    train, val = (DATASETS.build(cfg[name].dataset) for name in ('train_dataloader', 'val_dataloader'))
    assert [len(source) for source in train.datasets] == [40, 1247] and len(val) == 10
    assert not set(val.indices) & {*train.datasets[0].indices, *train.datasets[1].indices}
    assert set(val[0]) == {'inputs', 'data_samples'} and val.pipeline.transforms[0].__class__.__name__ == 'PackInputs'
    assert DATASETS.build(cfg.test_dataloader.dataset).split == 'test'
