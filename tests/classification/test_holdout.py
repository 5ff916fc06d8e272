"""The part of the training images that is kept back for validation."""

import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from mmseg_isda.classification.holdout import HoldOutDataset, split_by_class, use_hold_out
from mmseg_isda.errors import OptionError

PINNED = [12, 32, 76, 88, 104, 113, 123, 128, 129, 134]
LABELS = np.random.RandomState(3).permutation(np.repeat(np.arange(5), [40, 30, 30, 25, 25]))


@DATASETS.register_module(force=True)
class ListOfImages(BaseDataset):
    """Images that are their own number."""

    METAINFO = dict(classes=tuple('abcde'))

    def __init__(self, **options) -> None:
        super().__init__(ann_file='', **options)

    def load_data_list(self):
        return [dict(number=number, gt_label=int(label)) for number, label in enumerate(LABELS)]


def both(**options):
    return [HoldOutDataset(dict(type='ListOfImages'), part, **options) for part in ('train', 'val')]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


@pytest.mark.parametrize('num_val', [1, 5, 20, 23, 120])
@pytest.mark.parametrize('seed', [0, 7])
def test_parts_are_disjoint_cover_all_and_are_balanced(num_val, seed):
    """Guards images that are trained on and validated, or lost; shares that differ by more than one."""
    train, val = split_by_class(LABELS, num_val, seed)
    assert sorted([*train, *val]) == list(range(len(LABELS))) and len(val) == num_val
    counts = np.bincount(LABELS[val], minlength=5)
    assert counts.max() - counts.min() <= 1


def test_the_split_depends_on_the_seed_alone():
    """The values pin it for all versions of NumPy: a search that goes on elsewhere must hold the same images out."""
    state = np.random.get_state()[1].copy()
    first, again, other = (split_by_class(LABELS, 10, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert (np.random.get_state()[1] == state).all()  # nobody else's random numbers are used up
    assert first == PINNED


def test_wrapped_data_sets_show_their_own_part():
    train, val = both(num_val=20)
    assert len(train) == 130 and len(val) == 20
    numbers = [[part[i]['number'] for i in range(len(part))] for part in (train, val)]
    assert numbers[1] == val.indices.tolist() and sorted(numbers[0] + numbers[1]) == list(range(150))
    for part in (train, val):
        assert part.get_gt_labels().tolist() == LABELS[part.indices].tolist()
        assert part.get_data_info(3)['gt_label'] == part.get_cat_ids(3)[0] == LABELS[part.indices[3]]
        assert part.metainfo['classes'] == tuple('abcde')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(part='test'), "part must be one of 'train', 'val', got 'test'"),
        (dict(num_val=0), 'num_val must be between 1 and 149'),
        (dict(num_val=150), r'num_val must be between 1 and 149 .* got 150'),
        (dict(num_val=126), 'num_val=126 (leaves no image|takes 26 images) of class'),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HoldOutDataset(dict(type='ListOfImages'), **{'part': 'val', **options})


def config(**train):
    loader = dict(batch_size=2, dataset=dict(type='ListOfImages', pipeline=['test']))
    dataset = dict(type='ListOfImages', pipeline=['train'], **train)
    return Config(dict(train_dataloader=dict(dataset=dataset), val_dataloader=loader, test_dataloader=loader))


def test_a_config_is_changed_to_hold_images_out():
    """Guards a validation with the training augmentation, and test images that become training images."""
    cfg = config()
    cfg.test_dataloader = cfg.val_dataloader  # one object under two names, as configs like to have it
    use_hold_out(cfg, 30, seed=4)
    train, val = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert (train.part, val.part) == ('train', 'val') and train.num_val == val.num_val == 30
    assert train.dataset.pipeline == ['train'] and val.dataset.pipeline == ['test'] and val.seed == 4
    assert cfg.test_dataloader.dataset.type == 'ListOfImages' and cfg.val_dataloader.batch_size == 2


def test_configs_that_cannot_hold_out_are_refused():
    cfg = config()
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='ListOfImages'))
    with pytest.raises(OptionError, match='is a RepeatDataset without a pipeline'):
        use_hold_out(cfg)
    cfg.val_dataloader = None
    with pytest.raises(OptionError, match='no val_dataloader'):
        use_hold_out(cfg)


def test_an_image_whose_pipeline_yields_none_is_replaced_by_one_of_the_same_part():
    """Guards the host's own replacement, which draws from the whole data set: held-out images would be trained on."""
    train, val = both(num_val=20, seed=0)
    for part in (train, val):
        part.dataset.pipeline = lambda results: results if results['number'] % 3 == 0 else None
        own = set(part.indices.tolist())
        assert all(part[index]['number'] in own for index in range(len(part)))
    val.dataset.pipeline = lambda results: None
    with pytest.raises(RuntimeError, match='yielded None'):
        val[0]
