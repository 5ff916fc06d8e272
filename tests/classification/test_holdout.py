"""The part of the training images that is kept back for validation."""

import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config

from mmseg_isda.classification.holdout import use_hold_out
from mmseg_isda.errors import OptionError


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
    assert (train.part, val.part) == ('rest', 'chosen') and train.num_images == val.num_images == 30
    assert train.type == val.type == 'SubsetDataset' and train.seed == val.seed
    assert train.dataset.pipeline == ['train'] and val.dataset.pipeline == ['test'] and val.seed == 4
    assert cfg.test_dataloader.dataset.type == 'ListOfImages' and cfg.val_dataloader.batch_size == 2


def test_the_pipeline_may_be_that_of_a_wrapper():
    """Guards a validation without any, which failed after the first epoch, of sets that a seed draws."""
    cfg = config()
    cfg.val_dataloader.dataset = dict(type='SubsetDataset', pipeline=['test'], dataset=dict(type='ListOfImages'))
    use_hold_out(cfg, 30)
    assert cfg.val_dataloader.dataset.dataset.pipeline == ['test']


def test_configs_that_cannot_hold_out_are_refused():
    cfg = config()
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=dict(type='ListOfImages'))
    with pytest.raises(OptionError, match='is a RepeatDataset without a pipeline'):
        use_hold_out(cfg)
    cfg = config()
    cfg.val_dataloader.dataset.pipeline = None
    with pytest.raises(OptionError, match='has no pipeline to validate'):
        use_hold_out(cfg)
    cfg.val_dataloader = None
    with pytest.raises(OptionError, match='no val_dataloader'):
        use_hold_out(cfg)
