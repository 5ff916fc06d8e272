"""Every segmentation config loads, builds and says what the paper's recipe says (figures of Table 7's experiments)."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from mmseg_isda.engine import bind_isda_losses

REPO = Path(__file__).parents[2]
CONFIGS = sorted(
    path
    for name in ('cityscapes', 'camvid')
    for path in (REPO / 'configs' / name).glob('*.py')
    if 'lite0' not in path.stem
)
TWINS = [path for path in CONFIGS if '_isda' in path.stem or '-isda' in path.stem]
PAPER = [path for path in CONFIGS if path.parent.name == 'cityscapes' and 'stock' not in path.stem]
STOCK = [path for path in CONFIGS if 'stock' in path.stem]
HEADS = ('decode_head', 'auxiliary_head')


def _ids(paths):
    return [path.stem for path in paths]


def _load(path):
    return Config.fromfile(path)


def _baseline(twin):
    return twin.with_name(twin.name.replace('_isda_', '_').replace('stock-isda', 'stock'))


def _transform(pipeline, kind):
    return next((step for step in pipeline if step['type'] == kind), None)


def _shrunk(cfg):
    """The config's model with narrow layers and plain batch norm, which needs no GPU."""
    model = copy.deepcopy(cfg.model)
    bottleneck = model.backbone.depth > 34
    model.backbone.update(depth=50 if bottleneck else 18, base_channels=4, stem_channels=8, init_cfg=None)
    for part in (model.backbone, model.decode_head, model.auxiliary_head):
        part.norm_cfg = dict(type='BN')
    expansion = 4 if bottleneck else 1
    model.decode_head.update(in_channels=32 * expansion, channels=8)
    model.auxiliary_head.update(in_channels=16 * expansion, channels=8)
    if 'branch_channels' in model.decode_head:
        model.decode_head.branch_channels = 4
    return model


def test_the_set_is_complete():
    """Guards against a network, or its twin, that was forgotten or left without its other half."""
    assert len(CONFIGS) == 22 and len(TWINS) == 11
    assert {_baseline(path) for path in TWINS} == set(CONFIGS) - set(TWINS)


@pytest.mark.parametrize('path', CONFIGS, ids=_ids(CONFIGS))
def test_builds_and_computes_a_loss(path):
    """Guards the widths between backbone and heads, leftovers of inheritance, and the losses' options."""
    cfg = _load(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(_shrunk(cfg)).train()
    isda = cfg.model.decode_head.loss_decode.type == 'ISDASegLoss'
    bound = bind_isda_losses(model) if isda else {}
    for loss in bound.values():
        loss.strength = 1.0
    label = torch.randint(0, model.num_classes, (1, 33, 41))
    label[:, :5] = 255
    # Two images, as a 1x1 pool of one has no batch statistics.
    losses = model.loss(torch.randn(2, 3, 33, 41), [SegDataSample(gt_sem_seg=PixelData(data=label))] * 2)
    assert list(bound) == (['decode_head', 'auxiliary_head'] if isda else [])
    assert all(loss.statistics.count.any() and loss.check_iteration()['shift'] > 0 for loss in bound.values())
    expected = dict(CrossEntropyLoss='loss_ce', ISDASegLoss='loss_isda')[cfg.model.decode_head.loss_decode.type]
    values = [losses[f'{head}.{expected}'] for head in ('decode', 'aux')]
    assert all(torch.isfinite(value) and value > 0 for value in values)
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4


@pytest.mark.parametrize('path', TWINS, ids=_ids(TWINS))
def test_a_twin_differs_from_its_baseline_in_the_losses_only(path):
    """Guards the comparison itself: nothing else may change between the two columns of a table."""
    twin, base = _load(path).to_dict(), _load(_baseline(path)).to_dict()
    for head in HEADS:
        new, old = (cfg['model'][head].pop('loss_decode') for cfg in (twin, base))
        assert new.pop('type') == 'ISDASegLoss' and old.pop('type') == 'CrossEntropyLoss'
        assert new.pop('lambda_0') == (1.0 if '_cpu-' in path.stem else 7.5)
        assert new == old  # loss_weight and the averaging are the baseline's
    assert twin == base


@pytest.mark.parametrize('path', CONFIGS, ids=_ids(CONFIGS))
def test_schedule_and_name_agree(path):
    """Guards lengths that are written in three places: file name, loop, scheduler."""
    cfg = _load(path)
    iterations = {'40k': 40000, '8k': 8000, '600it': 600}[path.stem.split('_')[-2].split('-')[-1]]
    (schedule,) = cfg.param_scheduler
    assert cfg.train_cfg.max_iters == schedule.end == iterations
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert (schedule.type, schedule.power, schedule.by_epoch) == ('PolyLR', 0.9, False)
    assert dict(cfg.optim_wrapper.optimizer) == dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert f'xb{cfg.train_dataloader.batch_size}' in path.stem
    assert f'r{cfg.model.backbone.depth}-d8' in path.stem
    assert cfg.custom_imports == dict(imports=['mmseg_isda'], allow_failed_imports=False)


@pytest.mark.parametrize('path', PAPER, ids=_ids(PAPER))
def test_the_papers_recipe(path):
    """Guards each line in which the authors' set-up departs from MMSegmentation's."""
    cfg = _load(path)
    model, depth = cfg.model, 101 if 'r101' in path.stem else 50
    assert model.backbone.type == 'ResNetV1c' and model.backbone.stem_channels == 128
    assert model.backbone.contract_dilation is False and model.backbone.get('multi_grid') is None
    assert tuple(model.backbone.dilations) == (1, 1, 2, 4) and tuple(model.backbone.strides) == (1, 2, 1, 1)
    assert dict(model.backbone.init_cfg) == dict(type='Pretrained', checkpoint=f'pretrained/resnet{depth}_csail.pth')
    pre = model.data_preprocessor
    assert (pre.mean, pre.std, pre.bgr_to_rgb) == ([104.007, 116.669, 122.679], [1.0, 1.0, 1.0], False)
    assert (pre.pad_val, pre.seg_pad_val, tuple(pre.size)) == (0, 255, (769, 769))
    for head, weight in zip(HEADS, (1.0, 0.4), strict=True):
        part = model[head]
        assert (part.channels, part.dropout_ratio, part.align_corners) == (512, 0.1, True)
        assert dict(part.act_cfg) == dict(type='LeakyReLU', negative_slope=0.01)
        assert part.norm_cfg.type == model.backbone.norm_cfg.type == 'SyncBN'
        assert part.loss_decode.loss_weight == weight and part.loss_decode.avg_non_ignore is True
        assert 'sampler' not in part
    assert (model.auxiliary_head.in_index, model.auxiliary_head.num_convs) == (2, 1)
    assert model.auxiliary_head.concat_input is False
    if 'deeplabv3' in path.stem:
        head = model.decode_head
        assert (head.type, head.branch_channels, head.dilations) == ('SlimASPPHead', 256, (1, 12, 24, 36))
    else:
        assert model.decode_head.type == 'PSPHead'
    assert dict(model.test_cfg) == dict(mode='slide', crop_size=(769, 769), stride=(513, 513))
    assert cfg.param_scheduler[0].eta_min == 0 and cfg.train_dataloader.batch_size == 2


@pytest.mark.parametrize('path', PAPER, ids=_ids(PAPER))
def test_the_papers_data(path):
    """Guards the 15 scales, uniform crops, no colour change, and a test at full size."""
    cfg = _load(path)
    train = cfg.train_dataloader.dataset.pipeline
    assert [step['type'] for step in train] == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomChoiceResize', 'RandomCrop', 'RandomFlip', 'PackSegInputs'
    ]  # fmt: skip
    scales = _transform(train, 'RandomChoiceResize')['scales']
    assert len(scales) == 15 and scales[0] == (1434, 717) and scales[3] == (2048, 1024) and scales[14] == (4301, 2150)
    assert dict(_transform(train, 'RandomCrop')) == dict(type='RandomCrop', crop_size=(769, 769))
    assert _transform(train, 'RandomFlip')['prob'] == 0.5
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert _transform(loader.dataset.pipeline, 'Resize') is None
        assert loader.dataset.data_prefix == dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')


@pytest.mark.parametrize('path', STOCK, ids=_ids(STOCK))
def test_the_stock_recipe(path):
    """Guards that the stock variant is MMSegmentation's, so that its figures may be compared with the zoo's."""
    cfg = _load(path)
    assert cfg.model.decode_head.type == ('ASPPHead' if 'deeplabv3' in path.stem else 'PSPHead')
    assert cfg.model.backbone.contract_dilation is True and 'stem_channels' not in cfg.model.backbone
    assert cfg.model.backbone.init_cfg.checkpoint == 'open-mmlab://resnet101_v1c'
    assert cfg.model.data_preprocessor.bgr_to_rgb is True and cfg.model.auxiliary_head.channels == 256
    assert 'avg_non_ignore' not in cfg.model.decode_head.loss_decode
    train = cfg.train_dataloader.dataset.pipeline
    assert _transform(train, 'RandomCrop')['cat_max_ratio'] == 0.75 and _transform(train, 'PhotoMetricDistortion')
    assert _transform(cfg.test_dataloader.dataset.pipeline, 'Resize')['scale'] == (2049, 1025)
    assert cfg.param_scheduler[0].eta_min == 1e-4 and dict(cfg.model.test_cfg)['stride'] == (513, 513)


@pytest.mark.parametrize('path', CONFIGS, ids=_ids(CONFIGS))
def test_test_time_augmentation_has_the_papers_scales(path, tmp_path):
    """Guards the eight views {0.75, 1, 1.25, 1.5} x flip, by running the pipeline on an image."""
    cfg = _load(path)
    init_default_scope(cfg.default_scope)
    Image.fromarray(np.zeros((360, 480, 3), np.uint8)).save(tmp_path / 'image.png')
    Image.fromarray(np.zeros((360, 480), np.uint8)).save(tmp_path / 'label.png')
    views = Compose(cfg.tta_pipeline)(
        dict(
            img_path=str(tmp_path / 'image.png'), seg_map_path=str(tmp_path / 'label.png'), seg_fields=[],
            reduce_zero_label=False,
        )
    )  # fmt: skip
    unit = 180 if 'cpu' in path.stem else 360
    found = [(sample.img_shape[0] / unit, bool(sample.flip)) for sample in views['data_samples']]
    assert sorted(found) == [(scale, flip) for scale in (0.75, 1.0, 1.25, 1.5) for flip in (False, True)]
    assert cfg.tta_model.type == 'SegTTAModel'


def test_the_whole_paper_networks_have_their_sizes():
    """Guards the built network, once each at full size: stem, first dilations, pyramid, heads."""
    init_default_scope('mmseg')
    for name in ('pspnet', 'deeplabv3'):
        cfg = _load(REPO / f'configs/cityscapes/{name}_r101-d8_isda_4xb2-40k_cityscapes-769x769.py')
        model = MODELS.build(cfg.model)
        assert isinstance(model, EncoderDecoder)
        stem = [layer.out_channels for layer in model.backbone.stem if isinstance(layer, nn.Conv2d)]
        assert stem == [64, 64, 128]
        assert [model.backbone.layer3[0].conv2.dilation, model.backbone.layer4[0].conv2.dilation] == [(2, 2), (4, 4)]
        assert len(model.backbone.layer3) == 23
        assert tuple(model.auxiliary_head.convs[0].conv.weight.shape) == (512, 1024, 3, 3)
        bottleneck = tuple(model.decode_head.bottleneck.conv.weight.shape)
        assert bottleneck == {'pspnet': (512, 4096, 3, 3), 'deeplabv3': (512, 1280, 1, 1)}[name]
        assert tuple(model.decode_head.conv_seg.weight.shape) == (19, 512, 1, 1)
        if name == 'pspnet':
            assert tuple(model.decode_head.pool_scales) == (1, 2, 3, 6)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_camvid_trains_and_scores_whole_batches(tmp_path, suffix):
    """Guards the pipelines on files: crops of one size for every scale, void as 255, labels unscaled in testing."""
    for name in ('train', 'trainannot', 'val', 'valannot'):
        (tmp_path / name).mkdir()
        image = np.random.default_rng(0).integers(0, 12, (360, 480) if 'annot' in name else (360, 480, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / name / f'frame{".png" if "annot" in name else suffix}')
    for name in ('pspnet_r50-d8_1xb8-8k_camvid-360x480.py', 'pspnet_r18-d8_cpu-1xb4-600it_camvid-180x240.py'):
        cfg = _load(REPO / 'configs/camvid' / name)
        init_default_scope(cfg.default_scope)
        for loader, training in ((cfg.train_dataloader, True), (cfg.test_dataloader, False)):
            sample = DATASETS.build({**loader.dataset, 'data_root': str(tmp_path)})[0]
            batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
            batch = MODELS.build(cfg.model.data_preprocessor)(batch, training=training)
            label = batch['data_samples'][0].gt_sem_seg.data
            size = tuple(cfg.model.data_preprocessor.size) if training else (360, 480)
            assert tuple(label.shape[1:]) == size and size[0] % 8 == size[1] % 8 == 0
            assert set(label.unique().tolist()) <= {*range(11), 255}
            assert not training or tuple(batch['inputs'].shape[2:]) == size
        assert METRICS.build(cfg.test_evaluator).metrics == ['mIoU']


def test_pretrained_weights_can_be_given_on_the_command_line():
    """Guards the line that the CamVid configs show: an `init_cfg=None` in a base would make it an error."""
    cfg = _load(REPO / 'configs/camvid/pspnet_r50-d8_1xb8-8k_camvid-360x480.py')
    key, weights = 'model.backbone.init_cfg', 'open-mmlab://resnet50_v1c'
    cfg.merge_from_dict({f'{key}.type': 'Pretrained', f'{key}.checkpoint': weights})
    assert dict(cfg.model.backbone.init_cfg) == dict(type='Pretrained', checkpoint=weights)


def test_a_config_alone_registers_what_it_names():
    """Guards the host's own train script, which imports nothing of this project but what the config names."""
    code = f"""
from mmengine.config import Config
Config.fromfile({str(CONFIGS[0])!r})
from mmengine.registry import HOOKS
from mmseg.registry import DATASETS, MODELS
names = [('ISDASegLoss', MODELS), ('SlimASPPHead', MODELS), ('CamVidDataset', DATASETS), ('ISDAHook', HOOKS)]
print([name for name, registry in names if registry.get(name) is None])
"""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(REPO), os.environ.get('PYTHONPATH', '')])}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.splitlines()[-1:] == ['[]'], done.stdout + done.stderr
