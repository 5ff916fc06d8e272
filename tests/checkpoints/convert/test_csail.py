"""CSAIL's ResNet weights: every name lands, the features are the same, bad files are refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmseg_isda.checkpoints.convert import convert_checkpoint, convert_weights
from mmseg_isda.errors import CheckpointError, OptionError

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def _csail(depth=50, *, batches=False):
    """CSAIL's state dict by its module names: stem 64-64-128, torchvision's bottlenecks, classifier of 1,000."""
    generator = torch.Generator().manual_seed(depth)
    state = {}

    def convolution(name, out, into, size):
        weight = torch.empty(out, into, size, size)
        state[f'{name}.weight'] = weight.normal_(0, (2 / (into * size * size)) ** 0.5, generator=generator)

    def norm(name, channels):
        for part, low in (('weight', 0.5), ('bias', -0.2), ('running_mean', -0.2), ('running_var', 0.5)):
            state[f'{name}.{part}'] = torch.empty(channels).uniform_(low, low + 0.5, generator=generator)
        if batches:
            state[f'{name}.num_batches_tracked'] = torch.tensor(7)

    for index, (out, into) in enumerate([(64, 3), (64, 64), (128, 64)], 1):
        convolution(f'conv{index}', out, into, 3)
        norm(f'bn{index}', out)
    into = 128
    for stage, blocks in enumerate(BLOCKS[depth], 1):
        width = 32 * 2**stage
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            for index, (a, b, size) in enumerate([(width, into, 1), (width, width, 3), (4 * width, width, 1)], 1):
                convolution(f'{name}.conv{index}', a, b, size)
                norm(f'{name}.bn{index}', a)
            if block == 0:
                convolution(f'{name}.downsample.0', 4 * width, into, 1)
                norm(f'{name}.downsample.1', 4 * width)
            into = 4 * width
    state['fc.weight'], state['fc.bias'] = torch.zeros(1000, 2048), torch.zeros(1000)
    return state


def _slow_forward(state, x):
    """The network written out from CSAIL's names, at output stride 8 with dilations 2 and 4."""

    def layer(conv, norm, x, *, relu=True, stride=1, dilation=1):
        weight = state[f'{conv}.weight']
        x = F.conv2d(x, weight, stride=stride, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)
        mean, var, scale, shift = (
            state[f'{norm}.{part}'].view(-1, 1, 1) for part in ('running_mean', 'running_var', 'weight', 'bias')
        )
        x = (x - mean) / torch.sqrt(var + 1e-5) * scale + shift
        return x.clamp(min=0) if relu else x

    x = layer('conv1', 'bn1', x, stride=2)
    x = layer('conv3', 'bn3', layer('conv2', 'bn2', x))
    x = F.max_pool2d(x, 3, 2, 1)
    outputs = []
    for stage, (stride, dilation) in enumerate([(1, 1), (2, 1), (1, 2), (1, 4)], 1):
        for block in range(BLOCKS[50][stage - 1]):
            name, step = f'layer{stage}.{block}', stride if block == 0 else 1
            y = layer(f'{name}.conv1', f'{name}.bn1', x)
            y = layer(f'{name}.conv2', f'{name}.bn2', y, stride=step, dilation=dilation)
            y = layer(f'{name}.conv3', f'{name}.bn3', y, relu=False)
            if block == 0:
                x = layer(f'{name}.downsample.0', f'{name}.downsample.1', x, relu=False, stride=step)
            x = (x + y).clamp(min=0)
        outputs.append(x)
    return outputs


@pytest.fixture(scope='module')
def backbones():
    return pytest.importorskip('mmseg.models.backbones')


def test_features_equal_the_network_written_out(backbones):
    """Guards the stem's names: conv2 and bn2 swapped with conv3 and bn3 would load elsewhere without a word."""
    state = _csail()
    done = convert_weights(state, 'mmseg')
    settings = {key: value for key, value in done.backbone.items() if key != 'type'}
    backbone = backbones.ResNetV1c(**settings, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    backbone.eval()  # the host's returns nothing
    backbone.load_state_dict(done.state_dict)
    x = torch.randn(1, 3, 33, 41, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for found, expected in zip(backbone(x), _slow_forward(state, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(('depth', 'batches', 'prefix'), [(101, True, ''), (50, False, 'module.')])
def test_every_name_lands_and_only_the_classifier_is_dropped(depth, batches, prefix, backbones):
    """Guards both depths, files with and without batch counters, and a DataParallel prefix."""
    state = _csail(depth, batches=batches)
    done = convert_weights({prefix + name: value for name, value in state.items()}, 'mmseg')
    assert done.backbone == dict(type='ResNetV1c', depth=depth, stem_channels=128)
    assert list(done.dropped) == [f'{prefix}fc.weight', f'{prefix}fc.bias']
    assert len(done.mapped) == len(state) - 2 and bool(done.added) == (not batches)
    short = {old.removeprefix(prefix): new for old, new in done.mapped.items()}
    assert short['conv2.weight'] == 'stem.3.weight' and short['bn3.bias'] == 'stem.7.bias'
    assert all(torch.equal(done.state_dict[new], state[old]) for old, new in short.items())
    with torch.device('meta'):
        truth = backbones.ResNetV1c(depth=depth, stem_channels=128).state_dict()
    assert {name: value.shape for name, value in truth.items()} == {n: v.shape for n, v in done.state_dict.items()}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('bn2.running_var'), r'1 missing: stem\.4\.running_var'),
        (lambda s: s.pop('layer4.2.conv3.weight'), r'1 missing: layer4\.2\.conv3\.weight'),
        (
            lambda s: s.update({'conv1.weight': torch.zeros(32, 3, 3, 3)}),
            r'1 of another shape: conv1\.weight \(32, 3, 3, 3\) instead of \(64, 3, 3, 3\)',
        ),
        (lambda s: s.update({'layer5.0.conv1.weight': torch.zeros(1)}), r'1 unknown: layer5\.0\.conv1\.weight'),
        (lambda s: s.update({'conv2.weight': torch.full((64, 64, 3, 3), torch.nan)}), 'not of finite numbers'),
        (lambda s: s.pop('conv3.weight'), 'another stem, .* then conv2'),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith('layer3.5.')], 'have 3, 4, 5, 3 bottleneck blocks'),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    """Guards against a checkpoint that the host would load in part, with a warning only."""
    state = _csail()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        convert_weights(state, 'mmseg')


@pytest.mark.parametrize('target', ['mmdet', 'mmpretrain'])
def test_only_mmsegmentation_has_the_network(target):
    with pytest.raises(OptionError, match=rf'--target mmseg, got {target}'):
        convert_weights(_csail(), target)


def test_the_file_loads_through_init_cfg(tmp_path, backbones):
    """Guards the road that the configs take."""
    state, target = _csail(), tmp_path / 'pretrained' / 'resnet50_csail.pth'
    torch.save(state, tmp_path / 'resnet50-imagenet.pth')
    convert_checkpoint(tmp_path / 'resnet50-imagenet.pth', target, target='mmseg')
    init = dict(type='Pretrained', checkpoint=str(target))
    backbone = backbones.ResNetV1c(depth=50, stem_channels=128, init_cfg=init)
    backbone.init_weights()
    assert torch.equal(backbone.stem[6].weight, state['conv3.weight'])
    assert torch.equal(backbone.layer4[2].bn3.running_var, state['layer4.2.bn3.running_var'])
