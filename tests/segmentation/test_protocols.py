"""The three protocols against a slow computation of their own: other resizing, other merging, other metric."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS

from mmseg_isda.commands.launch import build_runner
from mmseg_isda.errors import OptionError
from mmseg_isda.segmentation.protocols import (
    PAPER_SCALES,
    ClassIoUMetric,
    protocol_views,
    score_table,
    use_protocols,
)
from tests.tiny import CLASSES, tiny_settings, write_dataset

FLIP = dict(type='RandomFlip', prob=1.0, direction='horizontal')


@MODELS.register_module()
class KnownLogits(BaseSegmentor):
    """A network whose logits are an explicit function of the pixels and their place, so that scale and flip matter."""

    def __init__(self, data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.align_corners, self.out_channels, self.calls = False, len(CLASSES), 0

    @staticmethod
    def logits(image: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 4, H, W)."""
        height, width = image.shape[2:]
        column = torch.arange(width, dtype=torch.float32).expand(height, width) / width
        rough = F.avg_pool2d(image, 3, stride=1, padding=1)
        out = torch.stack([rough[:, 2] - rough[:, 0], rough[:, 0] - rough[:, 2], rough[:, 1]], 1)
        out[:, 0] += 3 * column - 2 * column**2
        return torch.cat([out, torch.full_like(out[:, :1], -9.0)], 1)

    def predict(self, inputs, data_samples=None):
        self.calls += 1
        return self.postprocess_result(self.logits(inputs), data_samples)

    def loss(self, inputs, data_samples): ...

    def encode_decode(self, inputs, batch_data_samples): ...

    def extract_feat(self, inputs): ...

    def _forward(self, inputs, data_samples=None): ...


@pytest.fixture
def cfg(tmp_path) -> Config:
    write_dataset(tmp_path / 'data')
    settings = tiny_settings(tmp_path / 'data')
    preprocessor = settings['model']['data_preprocessor'] | dict(size=None)
    cfg = Config(settings | dict(model=dict(type='KnownLogits', data_preprocessor=preprocessor)))
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


def slow_scores(root, scales, flips) -> tuple[float, list[float]]:
    """Resizes each image, predicts it, resizes the prediction back, averages probabilities, counts pixel by pixel."""
    confusion = np.zeros((len(CLASSES), len(CLASSES)))
    for path in sorted((root / 'img' / 'val').glob('*.png')):
        image, label = cv2.imread(str(path)), cv2.imread(str(root / 'ann' / 'val' / path.name), cv2.IMREAD_UNCHANGED)
        height, width = label.shape
        total = 0
        for scale in scales:
            scaled = cv2.resize(image, (int(width * scale + 0.5), int(height * scale + 0.5)))
            for flip in flips:
                view = scaled[:, ::-1] if flip else scaled
                tensor = torch.from_numpy(((view - 120.0) / 60.0).transpose(2, 0, 1).copy()).float()[None]
                logits = KnownLogits.logits(tensor)
                logits = logits.flip(3) if flip else logits
                logits = F.interpolate(logits, (height, width), mode='bilinear', align_corners=False)
                total = total + logits.double().softmax(1)
        prediction = total[0].argmax(0).numpy()
        keep = label != 255
        np.add.at(confusion, (label[keep], prediction[keep]), 1)
    hits = np.diag(confusion)
    with np.errstate(invalid='ignore'):
        iou = 100 * hits / (confusion.sum(0) + confusion.sum(1) - hits)
    return 100 * hits.sum() / confusion.sum(), iou.tolist()


def run(cfg: Config) -> tuple[dict, KnownLogits]:
    runner = build_runner(cfg, [])
    return runner.test(), getattr(runner.model, 'module', runner.model)


def test_scores_equal_a_slow_computation(cfg, tmp_path):
    """Guards against merging the wrong views, a flip not undone, labels resized with the image, one loop's state
    leaking into another's."""
    use_protocols(cfg)
    scores, model = run(cfg)
    expected = {
        'single_scale': slow_scores(tmp_path / 'data', (1.0,), (False,)),
        'multi_scale': slow_scores(tmp_path / 'data', PAPER_SCALES, (False,)),
        'multi_scale_flip': slow_scores(tmp_path / 'data', PAPER_SCALES, (False, True)),
    }
    assert list(scores) == list(expected)
    for name, (accuracy, iou) in expected.items():
        assert scores[name]['aAcc'] == pytest.approx(accuracy, abs=1e-4)
        assert list(scores[name]['IoU'].values()) == pytest.approx(iou, abs=1e-4, nan_ok=True)
        assert scores[name]['mIoU'] == pytest.approx(np.nanmean(iou), abs=1e-4)
    assert len({round(score['aAcc'], 3) for score in scores.values()}) == 3, (
        'the protocols must differ to be told apart'
    )
    # Eight views of each of three images: the test pipeline is the scale 1 view and is not predicted twice.
    assert model.calls == 3 * 8


def test_single_scale_is_the_plain_test(cfg):
    """The first column must be what `tools/test.py` reports without options."""
    plain = Config(cfg.to_dict())
    metrics, _ = run(plain)
    use_protocols(cfg)
    single = run(cfg)[0]['single_scale']
    assert {key: round(single[key], 2) for key in ('mIoU', 'mAcc', 'aAcc')} == metrics


def tta(*groups: list) -> list:
    return [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=list(groups))]


def test_views_come_from_the_tta_pipeline(cfg):
    """The config's own scales win over the paper's; unflipped views alone make the multi-scale protocol."""
    cfg.tta_pipeline = tta(
        [dict(type='Resize', scale_factor=factor, keep_ratio=True) for factor in (0.5, 2.0)],
        [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    )
    views, protocols = protocol_views(cfg)
    factors = [[t['scale_factor'] for t in view if t['type'] == 'Resize'] for view in views]
    flips = [any(t.get('prob') for t in view) for view in views]
    assert [(factors[i], flips[i]) for i in protocols['multi_scale']] == [([0.5], False), ([2.0], False)]
    assert sorted((factors[i][0], flips[i]) for i in protocols['multi_scale_flip']) == [
        (0.5, False),
        (0.5, True),
        (2.0, False),
        (2.0, True),
    ]
    assert protocols['single_scale'] == [0] and views[0] == cfg.test_dataloader.dataset.pipeline


def test_flip_is_added_ahead_of_the_labels(cfg):
    """A tta_pipeline of scales alone still gives a flip protocol; a flip after LoadAnnotations would flip the truth."""
    cfg.tta_pipeline = tta(
        [dict(type='Resize', scale_factor=1.0)], [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]
    )
    views, protocols = protocol_views(cfg)
    assert protocols['multi_scale_flip'] == [1, 2]
    assert [t['type'] for t in views[2]] == [
        'LoadImageFromFile',
        'Resize',
        'RandomFlip',
        'LoadAnnotations',
        'PackSegInputs',
    ]


@pytest.mark.parametrize(
    ('resize', 'expected'),
    [
        (dict(type='Resize', scale=(200, 100), keep_ratio=True), dict(scale=(100, 50))),
        (dict(type='Resize', scale_factor=0.8), dict(scale_factor=0.4)),
        (None, dict(scale_factor=0.5)),
    ],
)
def test_scales_are_relative_to_the_test_pipeline(cfg, resize, expected):
    """Without a tta_pipeline a test at another size (Resize) must be scaled from that size, not from the file's."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    if resize:
        pipeline.insert(1, ConfigDict(resize))
    cfg.img_ratios = [0.5]
    views, _ = protocol_views(cfg)
    assert {key: views[1][1][key] for key in expected} == expected
    if resize:
        assert cfg.test_dataloader.dataset.pipeline[1] == resize


def test_label_images_of_each_protocol(cfg, tmp_path):
    """--out: three protocols must not write over one another."""
    cfg.test_evaluator.output_dir = str(tmp_path / 'out')
    use_protocols(cfg)
    run(cfg)
    found = sorted(path.relative_to(tmp_path / 'out').as_posix() for path in (tmp_path / 'out').rglob('*.png'))
    assert found == [
        f'{name}/{i}.png' for name in ('multi_scale', 'multi_scale_flip', 'single_scale') for i in range(3)
    ]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(default_scope='mmpretrain'), 'mmpretrain'),
        (dict(test_evaluator=dict(type='CityscapesMetric')), 'IoUMetric.*got CityscapesMetric'),
        (dict(test_evaluator=dict(type='IoUMetric', format_only=True)), 'format_only'),
        (dict(tta_pipeline=[dict(type='LoadImageFromFile')]), 'TestTimeAug'),
        (dict(tta_pipeline=tta([dict(type='RandomFlip', prob=1.0)])), 'every view flips'),
    ],
)
def test_configs_that_cannot_be_scored(cfg, change, message):
    cfg.merge_from_dict(change, allow_list_keys=False)
    with pytest.raises(OptionError, match=message):
        use_protocols(cfg)


def test_absent_class_is_in_no_mean():
    """A class without a pixel in labels and predictions is NaN: it must neither count as 0 nor as 100."""
    metric = ClassIoUMetric()
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    areas = [torch.tensor(values) for values in ([5.0, 0, 0], [10.0, 5, 0], [5.0, 5, 0], [10.0, 0, 0])]
    scores = metric.compute_metrics([tuple(areas)])
    assert scores['mIoU'] == pytest.approx((50 + 0) / 2)
    assert scores['mAcc'] == pytest.approx(50) and scores['aAcc'] == pytest.approx(50)
    assert math.isnan(scores['IoU']['c'])


def test_table_has_the_columns_of_the_paper():
    score = dict(mIoU=77.456, mAcc=80.0, aAcc=95.0, IoU={'road': 98.765, 'train': float('nan')})
    lines = score_table({'single_scale': score, 'multi_scale': score, 'multi_scale_flip': score}).splitlines()
    assert [cell.strip() for cell in lines[1].split('|')[1:-1]] == [
        '%',
        'Single scale',
        'Multi-scale',
        'Multi-scale + flip',
    ]
    cells = {line.split('|')[1].strip(): line.split('|')[2].strip() for line in lines if line.startswith('|')}
    assert cells['mIoU'] == '77.46' and cells['road'] == '98.77' and cells['train'] == '-'
