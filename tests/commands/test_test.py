"""What the test command adds to a config, and the results that it refuses to overwrite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_isda.commands import test as testing
from mmseg_isda.errors import ExistingPathError, OptionError


def test_results_are_not_overwritten(tmp_path):
    (tmp_path / 'out').mkdir()
    testing.refuse_existing(tmp_path / 'out', '--out', False)
    (tmp_path / 'out' / '0.png').touch()
    for path in (tmp_path / 'out', tmp_path / 'out' / '0.png'):
        with pytest.raises(ExistingPathError, match='--overwrite'):
            testing.refuse_existing(path, '--out', False)
        testing.refuse_existing(path, '--out', True)


def test_show_dir_adds_the_hook_of_the_toolkit(prepare):
    """The shipped configs name no visualization hook."""
    cfg, _ = prepare()
    testing.set_show_dir(cfg, 'shown')
    assert cfg.default_hooks.visualization == dict(type='SegVisualizationHook', draw=True, interval=1)
    assert cfg.visualizer.save_dir == 'shown' and 'logger' in cfg.default_hooks


def test_out_needs_a_metric_that_writes(prepare):
    cfg, _ = prepare()
    testing.set_out(cfg, 'labels')
    assert cfg.test_evaluator.output_dir == 'labels'
    cfg.test_evaluator = [dict(type='Accuracy')]
    with pytest.raises(OptionError, match=r'--out.*got Accuracy'):
        testing.set_out(cfg, 'labels')


def test_tta_needs_a_pipeline(prepare):
    cfg, _ = prepare()
    with pytest.raises(OptionError, match='tta_pipeline'):
        testing.use_tta(cfg)
    model, cfg.tta_pipeline = cfg.model, [dict(type='TestTimeAug')]
    testing.use_tta(cfg)
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module == model
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline


def test_scores_are_json(tmp_path, prepare):
    """JSON has no NaN; NumPy's numbers are not JSON's."""
    path = tmp_path / 'new' / 'scores.json'
    scores = dict(mIoU=np.float64(1.5), IoU={'road': float('nan')}, count=torch.tensor(2))
    testing.write_scores(path, prepare()[0], 'metrics', scores, config='c.py')
    assert Config.fromfile(path).to_dict() == dict(
        config='c.py', dataset='BaseSegDataset', metrics=dict(mIoU=1.5, IoU=dict(road=None), count=2)
    )
