"""From a checkpoint to a detector: weights arrive whole, training and scoring run on the CPU with real operators."""

# ruff: noqa: E402 - what follows the skip needs MMDetection

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from tests.detection.needs import skip_without_mmdet

skip_without_mmdet()

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from demo.scenes import THINGS, make_scenes
from mmseg_isda.checkpoints.convert import convert_checkpoint
from mmseg_isda.commands.launch import build_runner, load_config, prepare_training
from mmseg_isda.commands.preflight import iter_dicts
from mmseg_isda.commands.test import add_arguments, prepare_testing
from tests.checkpoints.convert.sources import as_training_checkpoint, source_network

CONFIGS = Path(__file__).parents[2] / 'configs' / 'coco'
METHODS = ('faster-rcnn', 'mask-rcnn', 'cascade-rcnn', 'cascade-mask-rcnn')
SIZE = (96, 64)  # width, height


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with drawn scenes, and converted weights of a ResNet-50 under the name that the configs have."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('detection')
    make_scenes(folder / 'data', train=4, val=2, height=SIZE[1], width=SIZE[0], jobs=1)
    torch.save(as_training_checkpoint(source_network('resnet50')), folder / 'authors.pth')
    convert_checkpoint(folder / 'authors.pth', folder / 'pretrained' / 'resnet50_isda.pth', arch='resnet50')
    yield folder
    shutil.rmtree(folder)


def _options(data: Path) -> dict:
    options = {f'{part}_dataloader.dataset.data_root': str(data) for part in ('train', 'val', 'test')}
    for part, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        options[f'{part}_dataloader.dataset.ann_file'] = f'annotations/instances_{split}.json'
        options[f'{part}_dataloader.dataset.data_prefix.img'] = f'leftImg8bit/{split}/'
        options[f'{part}_dataloader.dataset.metainfo'] = dict(classes=THINGS, palette=[(250, 0, 0)] * len(THINGS))
        options |= {f'{part}_dataloader.num_workers': 0, f'{part}_dataloader.persistent_workers': False}
        if part != 'train':
            options[f'{part}_evaluator.ann_file'] = str(data / 'annotations' / 'instances_val.json')
    return options | {
        'train_cfg.max_epochs': 1,
        'default_hooks.logger.interval': 1,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'train_dataloader.dataset.filter_cfg.min_size': 1,
        'optim_wrapper.clip_grad': dict(max_norm=1.0),
    }


def _shrink(cfg) -> None:
    """Small images, few regions and eight categories; the network stays as it is."""
    for _, node in iter_dicts(cfg._cfg_dict):
        if 'num_classes' in node:
            node['num_classes'] = len(THINGS)
        if node.get('type') == 'Resize':
            node['scale'] = SIZE
        if node.get('type') == 'RandomSampler':
            node['num'] = 16
        if 'max_per_img' in node:
            node['max_per_img'] = 20
    cfg.visualizer = ConfigDict(type='DetLocalVisualizer', vis_backends=[], name='visualizer')


@pytest.mark.parametrize('method', [METHODS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS[1:])])
def test_each_detector_starts_from_the_converted_weights_and_trains(method, place, tmp_path, monkeypatch):
    """Guards the two commands of the README, on each detector: no missing key, two steps, an evaluation, a test."""
    monkeypatch.chdir(place)
    config = CONFIGS / f'{method}_r50-isda_fpn_1x_coco.py'
    cfg, notes = prepare_training(config, work_dir=str(tmp_path), options=_options(place / 'data'), seed=0)
    assert notes == []
    _shrink(cfg)
    runner = build_runner(cfg, notes)
    converted = torch.load('pretrained/resnet50_isda.pth', weights_only=True)['state_dict']
    model = runner.model
    assert model.backbone.state_dict().keys() == converted.keys(), 'a backbone key is missing or left over'
    model.init_weights()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, converted[name]), name
    runner.train()
    assert runner.iter == 2
    after = {name: value.detach().cpu() for name, value in model.backbone.state_dict().items()}
    trained = {name for name, value in after.items() if not torch.equal(value, converted[name])}
    assert {'layer4.2.conv3.weight', 'layer2.0.conv1.weight'} <= trained
    assert not any(name.startswith(('conv1', 'bn1', 'layer1')) or 'running' in name for name in trained)
    scalars = runner.message_hub.log_scalars
    assert all(torch.isfinite(torch.tensor(history.current())) for name, history in scalars.items() if 'loss' in name)
    kinds = ['bbox', 'segm'] if 'mask' in method else ['bbox']
    for kind in kinds:
        assert 0 <= scalars[f'val/coco/{kind}_mAP'].current() <= 1
    _test(config, tmp_path, place, kinds)


def _test(config: Path, work_dir: Path, place: Path, kinds: list[str]) -> None:
    checkpoint = work_dir / 'epoch_1.pth'
    options = {key: value for key, value in _options(place / 'data').items() if 'train' not in key}
    parser = ArgumentParser()
    add_arguments(parser)
    cfg, _ = prepare_testing(
        parser.parse_args([str(config), str(checkpoint), '--work-dir', str(work_dir / 'test')]), options
    )
    _shrink(cfg)
    cfg.experiment_name = f'test_{work_dir.name}'
    scores = build_runner(cfg, []).test()
    assert all(0 <= scores[f'coco/{kind}_mAP'] <= 1 for kind in kinds)
    checkpoint.unlink()


@pytest.mark.slow
def test_resnet_101_fits_its_detectors(tmp_path, monkeypatch):
    """Guards the deeper variants, whose weights are another file: every key, and no other."""
    from mmseg_isda.checkpoints.convert import convert_weights

    converted = convert_weights(as_training_checkpoint(source_network('resnet101'))['state_dict'], 'mmdet').state_dict
    (tmp_path / 'pretrained').mkdir()
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=converted), 'pretrained/resnet101_isda.pth')
    cfg = load_config(CONFIGS / 'faster-rcnn_r101-isda_fpn_1x_coco.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        backbone = MODELS.build(cfg.model.backbone)
        for method in METHODS[1:]:
            other = load_config(CONFIGS / f'{method}_r101-isda_fpn_1x_coco.py').model.backbone
            assert other == cfg.model.backbone
    backbone.init_weights()
    state = backbone.state_dict()
    assert state.keys() == converted.keys() and all(torch.equal(state[key], converted[key]) for key in state)
