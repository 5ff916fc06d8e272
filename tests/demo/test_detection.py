"""The detection demo: its steps, that none is repeated or mixed up with another setting, and what it paints."""

import sys

import numpy as np
import pytest

from demo import detection
from demo.scenes import THINGS, make_scenes
from mmseg_isda.commands.launch import load_config
from mmseg_isda.errors import OptionError
from tests.detection.needs import skip_without_mmdet


@pytest.fixture
def parse(monkeypatch, tmp_path):
    def parse(*words):
        monkeypatch.setattr(sys, 'argv', ['detection', '--work-dir', str(tmp_path / 'work'), *words])
        return detection.parse_args()

    return parse


def test_plan(parse, tmp_path):
    """Each step reads what the one before writes; a training is over when its record is there."""
    draw, pretrain, convert, train, paint = detection.plan(parse('--iters', '40', '--pretraining-iters', '60'))
    work = tmp_path / 'work'
    assert (pretrain.output, train.output) == (work / 'pretraining/result.json', work / 'detector/result.json')
    assert (draw.output, convert.output, paint.output) == (None, work / 'backbone.pth', work / 'detections.jpg')
    assert work / 'pretraining/iter_60.pth' in convert.command and work / 'backbone.pth' in convert.command
    assert f'model.backbone.init_cfg.checkpoint={work / "backbone.pth"}' in train.command
    assert work / 'detector/iter_40.pth' in paint.command
    for step, iters in ((pretrain, 60), (train, 40)):
        assert {'--resume', '--record', f'train_cfg.max_iters={iters}'} <= set(map(str, step.command))


def test_other_settings_are_refused(parse, tmp_path):
    """Results of 40 iterations taken for those of 80."""
    detection.claim(parse('--iters', '40'))
    detection.claim(parse('--iters', '40'))
    with pytest.raises(OptionError, match='iters 40, now 80'):
        detection.claim(parse('--iters', '80'))
    with pytest.raises(OptionError, match='--iters must be at least 1, got 0'):
        parse('--iters', '0')


def test_pretraining_and_detector_fit():
    """Guards colors, categories and widths of the two configs against one another."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('mmdet')
    first, second = load_config(detection.PRETRAINING), load_config(detection.DETECTOR)
    for key in ('mean', 'std'):
        assert first.data_preprocessor[key] == second.model.data_preprocessor[key]
    assert first.data_preprocessor.to_rgb and second.model.data_preprocessor.bgr_to_rgb
    assert first.model.backbone.base_channels == second.model.backbone.base_channels == 32
    assert tuple(second.metainfo.classes) == THINGS and len(second.metainfo.palette) == len(THINGS)
    heads = second.model.roi_head
    assert {heads.bbox_head.num_classes, heads.mask_head.num_classes, first.model.head.num_classes} == {len(THINGS)}


def test_sheet_of_images():
    """Three images in rows of two: the last place is white, the gaps are."""
    from demo.detections import GAP, tile

    sheet = tile([np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)], 2)
    assert sheet.shape == (2 * 4 + GAP, 2 * 6 + GAP, 3)
    assert (sheet[0, 0, 0], sheet[0, -1, 0], sheet[-1, 0, 0], sheet[-1, -1, 0], sheet[5, 3, 0]) == (
        10,
        20,
        30,
        255,
        255,
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'out': 'a.gif'}, r'--out must end with \.jpg or \.png, got a\.gif'),
        ({'number': 0}, '--number must be at least 1, got 0'),
        ({'threshold': 2.0}, '--threshold must be between 0 and 1, got 2'),
    ],
)
def test_wrong_options_are_refused_before_the_work(tmp_path, changes, message):
    from pathlib import Path

    from demo.detections import write_detections

    options = {'out': 'a.png', **changes}
    with pytest.raises(OptionError, match=message):
        write_detections(tmp_path / 'config.py', tmp_path / 'none.pth', Path(options.pop('out')), **options)


def test_detections_are_painted(tmp_path):
    """A real detector on drawn scenes: the sheet is the images, enlarged, with something painted on them."""
    skip_without_mmdet()
    import cv2
    import torch
    from mmengine.registry import MODELS, DefaultScope

    from demo.detections import SCALE, write_detections

    data = tmp_path / 'scenes'
    make_scenes(data, train=1, val=2, height=64, width=128, jobs=1)
    truth = {'test_evaluator.ann_file': str(data / 'annotations/instances_val.json')}
    cfg = load_config(detection.DETECTOR, {'test_dataloader.dataset.data_root': str(data), **truth})
    cfg.model.backbone.update(base_channels=8, init_cfg=None)
    cfg.model.neck.in_channels = [8, 16, 32, 64]
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    for pipeline in (cfg.test_dataloader.dataset.pipeline,):
        next(entry for entry in pipeline if entry['type'] == 'Resize')['scale'] = (128, 64)
    cfg.dump(str(tmp_path / 'config.py'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.save({'meta': {}, 'state_dict': MODELS.build(cfg.model).state_dict()}, tmp_path / 'iter_1.pth')
    paths = tmp_path / 'config.py', tmp_path / 'iter_1.pth', tmp_path / 'out.png'
    assert write_detections(*paths, number=2, threshold=0.0) > 0
    sheet, first = cv2.imread(str(paths[2])), cv2.imread(str(data / 'leftImg8bit/val/drawn/000001_leftImg8bit.png'))
    assert sheet.shape == (SCALE * 64, 2 * SCALE * 128 + 8, 3)
    plain = cv2.resize(first, (SCALE * 128, SCALE * 64), interpolation=cv2.INTER_CUBIC)
    same = (abs(sheet[:, : SCALE * 128].astype(int) - plain) < 3).mean()
    assert 0.02 < same < 0.999
