"""What train and test do to a config before anything is built."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_isda.commands import launch
from mmseg_isda.commands.launch import claim_work_dir, prepare_training
from mmseg_isda.errors import OptionError


def test_work_dir_is_named_after_the_config(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert prepare_training(config)[0].work_dir == './work_dirs/tiny'


@pytest.mark.parametrize('place', ['model.decode_head.loss_decode', 'model.auxiliary_head.loss_decode'])
def test_hook_is_added_for_an_isda_loss_anywhere(prepare, place):
    """An ISDA loss without its hook stops at the first iteration."""
    cfg, notes = prepare(options={f'{place}.type': 'ISDASegLoss'})
    assert cfg.default_hooks.isda.type == 'ISDAHook' and 'logger' in cfg.default_hooks
    assert any('ISDAHook' in note for note in notes)


def test_hook_is_added_for_a_loss_in_a_list_with_a_scope(prepare):
    losses = [dict(type='CrossEntropyLoss'), dict(type='mmseg.ISDASegLoss')]
    cfg, _ = prepare(options={'model.decode_head.loss_decode': losses, 'default_hooks.isda': None})
    assert cfg.default_hooks.isda.type == 'ISDAHook'


@pytest.mark.parametrize('place', ['custom_hooks', 'default_hooks.other'])
@pytest.mark.parametrize('name', ['ISDAHook', 'mmengine.ISDAHook'])
def test_hook_is_not_added_twice(prepare, place, name):
    """Two hooks would log and set lambda twice."""
    hook = dict(type=name)
    cfg, notes = prepare(
        options={'model.decode_head.loss_decode.type': 'ISDASegLoss', place: [hook] if '.' not in place else hook}
    )
    assert 'isda' not in cfg.default_hooks and not any('ISDAHook' in note for note in notes)


def test_plain_config_gets_no_hook(prepare):
    cfg, _ = prepare()
    assert not cfg.get('custom_hooks') and 'isda' not in cfg.default_hooks


def test_sync_bn_is_replaced_on_the_cpu_only(prepare, monkeypatch):
    """SyncBN has no CPU implementation; on a GPU it must stay."""
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg, notes = prepare()
    assert cfg.model.backbone.norm_cfg.type == cfg.model.decode_head.norm_cfg.type == 'BN'
    assert any('SyncBN was replaced' in note for note in notes)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, notes = prepare()
    assert cfg.model.backbone.norm_cfg.type == 'SyncBN' and not notes


def test_gloo_without_cuda(prepare, monkeypatch):
    """The configs name nccl, which needs GPUs; the wrapper's default device_ids too."""
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg, notes = prepare(launcher='pytorch')
    assert cfg.env_cfg.dist_cfg.backend == 'gloo' and cfg.model_wrapper_cfg.device_ids is None
    assert any('gloo' in note for note in notes)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, _ = prepare(launcher='pytorch')
    assert cfg.env_cfg.dist_cfg.backend == 'nccl' and 'model_wrapper_cfg' not in cfg


def test_launcher_without_its_environment(prepare, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match=r'RANK, WORLD_SIZE.*dist_train\.sh'):
        prepare(launcher='pytorch')


def test_seed_keeps_other_randomness(prepare):
    cfg, _ = prepare(options={'randomness.deterministic': True}, seed=3)
    assert cfg.randomness == dict(deterministic=True, seed=3)


def _drawn(cfg) -> list:
    """The names of the training images that a run would build its data set with."""
    torch.manual_seed(cfg.randomness['seed'])  # as its runner does
    init_default_scope('mmseg')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]


def test_images_follow_the_seed_of_each_training(prepare, tmp_path, config):
    """A config from a work dir kept the images of its old seed in silence; --resume with another seed took new ones."""
    whole = Config.fromfile(config).train_dataloader.dataset
    few = {'train_dataloader.dataset': dict(_delete_=True, type='SubsetDataset', num_images=2, dataset=whole)}
    drawn = {}
    for seed in range(6):
        drawn[seed], (cfg, _) = _drawn(prepare(options=few, seed=seed)[0]), prepare(options=few, seed=seed)
    other = next(seed for seed in range(6) if drawn[seed] != drawn[5])
    cfg.dump(tmp_path / 'dumped.py')
    again, _ = prepare_training(tmp_path / 'dumped.py', seed=other, work_dir=str(tmp_path / 'work'))
    assert _drawn(again) == drawn[other]
    assert _drawn(prepare_training(tmp_path / 'dumped.py')[0]) == drawn[5]
    torch.save(
        {'meta': {'seed': 5, 'iter': 1}, 'message_hub': {}, 'state_dict': {'weight': torch.ones(1)}},
        tmp_path / 'iter_1.pth',
    )
    with pytest.raises(OptionError, match='by seed ., but the checkpoint was trained with 5'):
        claim_work_dir(again, str(tmp_path / 'iter_1.pth'), None)


def test_amp(prepare, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, _ = prepare(amp=True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(OptionError, match='got ApexOptimWrapper'):
        prepare(amp=True, options={'optim_wrapper.type': 'ApexOptimWrapper'})
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    with pytest.raises(OptionError, match=r'--amp.*CUDA'):
        prepare(amp=True)
