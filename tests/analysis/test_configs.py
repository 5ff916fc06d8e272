"""The configs of Fig. 10 and of the generators."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmseg_isda.analysis.generators import check_generator, load_generator
from mmseg_isda.commands.launch import build_runner, prepare_training

FOLDER = Path(__file__).parents[2] / 'configs' / 'analysis'
CONFIGS = sorted(FOLDER.glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_each_config_differs_from_its_baseline_in_what_it_is_about(path: Path) -> None:
    """Guards options that a base leaves behind, and data or schedules that differ from the runs compared with."""
    cfg = Config.fromfile(path)
    init_default_scope('mmpretrain')
    if 'wgan' in path.stem:
        model = MODELS.build(cfg.model)
        labels = torch.zeros(2, dtype=torch.int64) if model.num_classes else None
        size = 8 if 'digits' in path.stem else 32
        assert model.generator(torch.randn(2, 100), labels).shape[2:] == (size, size)
        assert bool(model.num_classes) == ('conditional' in path.stem) and cfg.val_dataloader is None
        return
    name = path.name.replace('_explicit-learned', '').replace('_explicit', '')
    baseline = Config.fromfile(FOLDER.parent / ('digits' if 'digits' in name else 'cifar') / name)
    loss, head = MODELS.build(cfg.model.head.loss), cfg.model.head
    assert loss.num_samples is not None and (loss.learned is not None) == ('learned' in path.stem)
    if loss.learned is not None:
        assert loss.learned.root.shape[:2] == (head.num_classes, head.in_channels)
    head.pop('loss'), baseline.model.head.pop('loss')
    assert cfg.to_dict() == baseline.to_dict()


@pytest.mark.slow
def test_a_generator_is_trained_and_written(tmp_path: Path) -> None:
    """By the command that trains everything else."""
    options = {'train_cfg.max_epochs': 1, 'model.width': 4, 'train_dataloader.dataset.indices': 256}
    cfg, notes = prepare_training(FOLDER / 'wgan_digits.py', work_dir=str(tmp_path), options=options, seed=0)
    build_runner(cfg, notes).train()
    generator = load_generator(str(tmp_path / 'generator.pt'))
    check_generator(generator, 100, (1, 8, 8), 'generator.pt')
    assert (tmp_path / 'epoch_1.pth').is_file()
