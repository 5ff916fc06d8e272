"""The detection configs: MMDetection's own, with the paper's settings."""

# ruff: noqa: E402 - what follows the skip needs MMDetection

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.detection.needs import skip_without_mmdet

skip_without_mmdet()

from mmengine.config import Config

from mmseg_isda.commands.launch import import_plugin, load_config, uses_isda
from mmseg_isda.commands.preflight import check_data
from mmseg_isda.commands.resume import check_pretrained
from mmseg_isda.errors import MissingPathError

REPO = Path(__file__).parents[2]
COCO = sorted((REPO / 'configs/coco').glob('*.py'))
METHODS = ('faster-rcnn', 'mask-rcnn', 'cascade-rcnn', 'cascade-mask-rcnn')


def _ids(paths):
    return [path.stem for path in paths]


def _flat(node, where=''):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else None
    if items is None:
        return {where: node}
    return {key: value for name, child in items for key, value in _flat(child, f'{where}.{name}').items()}


def test_the_set_is_complete():
    """Guards a detector or a depth that was forgotten."""
    assert set(_ids(COCO)) == {f'{method}_r{depth}-isda_fpn_1x_coco' for method in METHODS for depth in (50, 101)}


@pytest.mark.parametrize('path', COCO, ids=_ids(COCO))
def test_the_weights_alone_differ_from_mmdetections_config(path, tmp_path):
    """Guards a comparison of two things at once."""
    folder = path.stem.split('_')[0].replace('-', '_').replace('cascade_mask', 'cascade')
    baseline = tmp_path / 'baseline.py'
    baseline.write_text(f"_base_ = 'mmdet::{folder}/{path.name.replace('-isda', '')}'")
    twin, base = (_flat(Config.fromfile(p).to_dict()) for p in (path, baseline))
    differing = {
        key: (base.get(key), twin.get(key)) for key in twin.keys() | base.keys() if base.get(key) != twin.get(key)
    }
    depth = twin['.model.backbone.depth']
    weights = (f'torchvision://resnet{depth}', f'pretrained/resnet{depth}_isda.pth')
    assert differing == {'.model.backbone.init_cfg.checkpoint': weights}
    assert f'_r{depth}' in path.stem


@pytest.mark.parametrize('path', COCO, ids=_ids(COCO))
def test_the_papers_settings(path):
    """Guards the schedule of the paper's "Original" rows, the zoo's 1x, against a new release's defaults."""
    cfg = load_config(path)
    assert cfg.train_cfg.max_epochs == 12 and cfg.default_scope == 'mmdet'
    warm_up, drops = cfg.param_scheduler
    assert (warm_up.end, drops.milestones, drops.gamma) == (500, [8, 11], 0.1)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ('SGD', 0.02, 0.9, 1e-4)
    assert cfg.train_dataloader.batch_size == 2 and cfg.auto_scale_lr.base_batch_size == 16
    backbone = cfg.model.backbone
    assert (backbone.type, backbone.style, backbone.frozen_stages, backbone.norm_eval) == ('ResNet', 'pytorch', 1, True)
    assert cfg.model.neck.type == 'FPN'
    assert next(step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'Resize').scale == (1333, 800)
    assert ('mask_head' in cfg.model.roi_head) == ('mask' in path.stem)
    assert cfg.model.roi_head.type.startswith('Cascade') == ('cascade' in path.stem)
    assert not uses_isda(cfg), 'ISDA pretrains the backbone; a detector has none of it'


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path):
    """Guards the hints: COCO, the converted weights, and the truth that the metric reads by itself."""
    cfg = load_config(REPO / 'configs/coco/mask-rcnn_r101-isda_fpn_1x_coco.py')
    import_plugin(cfg)
    with pytest.raises(MissingPathError, match=r'data/coco.*does not exist.*train2017\.zip'):
        check_data(cfg, ('train_dataloader',))
    with pytest.raises(MissingPathError, match=r'resnet101_isda\.pth.*mmseg-isda convert .*--arch resnet101'):
        check_pretrained(cfg)
    for path in ('annotations/instances_val2017.json', 'val2017/1.jpg'):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    cfg.val_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(MissingPathError, match=r'CocoMetric, val_evaluator\.ann_file.*val_evaluator\.ann_file=\.\.\.'):
        check_data(cfg, ('val_dataloader',))
    cfg.val_evaluator.ann_file = str(tmp_path / 'annotations/instances_val2017.json')
    check_data(cfg, ('val_dataloader',))


def test_a_new_process_knows_mmdetections_scope():
    """Guards `train` of any detector: what else this process has imported hid that nothing imports MMDetection."""
    code = (
        'import sys; from mmseg_isda.commands.loading import import_plugin, load_config; '
        'import_plugin(load_config(sys.argv[1]))'
    )
    done = subprocess.run([sys.executable, '-c', code, COCO[0]], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
