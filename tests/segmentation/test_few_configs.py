"""Configs of few images and of pretrained lite networks: they build, and a twin differs in its loss alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_isda.engine import FineTuningHook, bind_isda_losses

CAMVID = Path(__file__).parents[2] / 'configs' / 'camvid'
CONFIGS = sorted([*CAMVID.glob('few/*.py'), *CAMVID.glob('*lite0*.py')])
TWINS = [path for path in CONFIGS if '_isda' in path.stem]


def _baseline(twin: Path) -> Path:
    _, isda, rest = twin.stem.partition('_isda')
    kinds = ('-full', '-low-rank', '-label', '')
    found = next(kind for kind in kinds if rest.startswith(kind))
    return twin.with_name(twin.name.replace(isda + found, ''))


@pytest.mark.parametrize('path', TWINS, ids=lambda path: path.stem)
def test_a_twin_differs_from_its_baseline_in_the_loss_only(path):
    twin, base = (Config.fromfile(name).to_dict() for name in (path, _baseline(path)))
    new, old = (cfg['model']['decode_head'].pop('loss_decode') for cfg in (twin, base))
    options = {key: new.pop(key) for key in ('type', 'lambda_0')}
    assert options['type'] == 'ISDASegLoss' and options['lambda_0'] > 0 and old.pop('type') == 'CrossEntropyLoss'
    variant = {'-full': dict(covariance='full'), '-label': dict(augment_at='label')}
    variant['-low-rank'] = dict(covariance='low_rank', rank=8)
    assert new == old | next((settings for kind, settings in variant.items() if f'isda{kind}_' in path.stem), {})
    assert twin == base


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_computes_a_loss(path):
    """Guards the widths between backbone and head, leftovers of inheritance, and the losses' options."""
    if 'lite0' in path.stem:
        pytest.importorskip('timm')
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model).train()
    for loss in bind_isda_losses(model).values():
        loss.strength = 1.0
    label = torch.randint(0, 11, (1, 64, 80))
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    losses = model.loss(torch.randn(2, 3, 64, 80), [sample, sample])
    (value,) = (value for name, value in losses.items() if 'loss' in name)
    assert torch.isfinite(value) and value > 0


def test_lengths_agree():
    """Guards lengths that stand in the loop, the schedule and, for lite0, the name."""
    for path in CONFIGS:
        cfg = Config.fromfile(path)
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end
        assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
        assert 'lite0' not in path.stem or f'-{cfg.train_cfg.max_iters}it_' in path.stem
        assert 'few' not in path.parts or f'_{cfg.train_dataloader.dataset.num_images}-images' in path.stem


def test_what_is_frozen_exists():
    """Guards names of modules that a release of timm may change."""
    pytest.importorskip('timm')
    cfg = Config.fromfile(CAMVID / 'pspnet_lite0_cpu-1xb8-1400it_camvid-180x240.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.init_cfg = None
    hook = dict(cfg.default_hooks.fine_tuning)
    assert hook.pop('type') == 'FineTuningHook'
    runner = type('Runner', (), dict(model=MODELS.build(cfg.model)))
    FineTuningHook(**hook).before_train(runner)
    frozen = sum(not parameter.requires_grad for parameter in runner.model.parameters())
    assert 0 < frozen < len(list(runner.model.backbone.parameters()))
