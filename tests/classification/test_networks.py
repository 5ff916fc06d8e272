"""The networks of Tables 1 and 2: parameters, shapes, arithmetic, initialisation, one training step of each."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmseg_isda.classification.networks import (
    CIFARDenseNet,
    CIFARResNet,
    CIFARResNeXt,
    CIFARSEResNet,
    ShakeShake,
    WideResNet,
)
from mmseg_isda.classification.networks.resnet import SEBasicBlock
from mmseg_isda.classification.networks.shake_shake import SkewedShortcut, shake
from mmseg_isda.classification.networks.wide_resnet import WideBlock

CONFIGS = Path(__file__).parents[2] / 'configs'
# Features and millions of parameters of the whole classifier, as counted for the paper.
NETWORKS = {
    'cifar_resnet32': (64, '0.467'),
    'cifar_resnet110': (64, '1.731'),
    'cifar_seresnet110': (64, '1.743'),
    'cifar_wrn-16-8': (512, '10.96'),
    'cifar_wrn-28-10': (640, '36.48'),
    'cifar_resnext29-8x64d': (1024, '34.43'),
    'cifar_densenet-bc-100-12': (342, '0.769'),
    'cifar_shake-shake-26-2x32d': (128, '2.989'),
    'cifar_shake-shake-26-2x112d': (448, '36.44'),
    'imagenet_resnet50': (2048, '25.56'),
    'imagenet_resnet101': (2048, '44.55'),
    'imagenet_resnet152': (2048, '60.19'),
    'imagenet_resnext50-32x4d': (2048, '25.03'),
    'imagenet_resnext101-32x8d': (2048, '88.79'),
    'imagenet_densenet-bc-121': (1024, '7.98'),
    'imagenet_densenet-bc-265': (2688, '33.34'),
}


def _config(name):
    folder, _, network = name.partition('_')
    pattern = {'cifar': f'{network}_b*_cifar10.py', 'imagenet': f'{network}_8xb64_imagenet.py'}[folder]
    (path,) = (CONFIGS / folder).glob(pattern)
    return copy.deepcopy(Config.fromfile(path).model)


def _build(name):
    init_default_scope('mmpretrain')
    return MODELS.build(_config(name))


@pytest.fixture
def on_meta(monkeypatch):
    """Builds networks without memory. The host reads numbers from a `linspace`, which must be real ones."""
    linspace = torch.linspace
    monkeypatch.setattr(torch, 'linspace', lambda *args, **options: linspace(*args, **{**options, 'device': 'cpu'}))
    with torch.device('meta'):
        yield


@pytest.mark.parametrize('name', NETWORKS)
def test_parameters_and_features(name, on_meta):
    """Guards every width, depth and bias: each changes the count to the digits that the paper's table has."""
    features, millions = NETWORKS[name]
    model = _build(name)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert f'{count:.{len(millions.partition(".")[2])}f}' == millions
    is_cifar = name.startswith('cifar')
    assert tuple(model.head.fc.weight.shape) == (10 if is_cifar else 1000, features)
    maps = model.backbone(torch.empty(2, 3, 32 if is_cifar else 64, 32 if is_cifar else 64))
    assert isinstance(maps, tuple) and len(maps) == 1
    assert tuple(maps[0].shape) == (2, features, 8 if is_cifar else 2, 8 if is_cifar else 2)


@pytest.mark.parametrize('name', NETWORKS)
def test_one_training_step(name):
    """Guards a layer that the loss does not reach, and maps changed in place that the backward pass needs."""
    model = _build(name).train()
    size = 16 if name.startswith('cifar') else 64
    samples = [DataSample().set_gt_label(label) for label in (1, 3)]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images = torch.randn(2, 3, size, size)
    loss = model.loss(images, samples)['loss']
    loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    before = model.head.fc.weight.detach().clone()
    optimizer.step()
    assert loss.isfinite() and not torch.equal(model.head.fc.weight, before)


# --- initialisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('backbone', 'fan'),
    [
        (dict(type='CIFARResNet', depth=20), 'out'),
        (dict(type='CIFARSEResNet', depth=20), 'out'),
        (dict(type='WideResNet', depth=16, widen_factor=2), 'out'),
        (dict(type='CIFARResNeXt', depth=11, base_channels=16), 'out'),
        (dict(type='CIFARDenseNet', depth=40), 'out'),
        (dict(type='ShakeShake', depth=14), 'in'),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else value,
)
def test_convolutions_begin_normal_with_the_papers_deviation(backbone, fan):
    """Guards the host's defaults (uniform, zeros in the last batch norm) and the wrong side of the kernel."""
    init_default_scope('mmpretrain')
    model = MODELS.build(backbone)
    model.init_weights()
    scores = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            width = module.out_channels if fan == 'out' else module.in_channels // module.groups
            deviation = math.sqrt(2 / (module.kernel_size[0] * module.kernel_size[1] * width))
            scores.append(module.weight.detach().flatten() / deviation)
        elif isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1) and torch.all(module.bias == 0)
    for score in scores:
        if len(score) > 2000:
            assert abs(score.std().item() - 1) < 5 / math.sqrt(2 * len(score)) + 1e-3
    scores = torch.cat(scores)
    assert abs(scores.mean().item()) < 0.03
    assert abs((scores.abs() > 1.96).float().mean().item() - 0.05) < 0.005  # normal; a uniform one never gets there


def test_the_classifier_begins_as_pytorch_has_it(on_meta):
    """Guards the host's default of N(0, 0.01) with a bias of zero."""
    for name in NETWORKS:
        assert _config(name).head.init_cfg is None
    with torch.device('cpu'):
        model = _build('cifar_resnet32')
        model.init_weights()
    bound = 1 / math.sqrt(64)
    weight, bias = model.head.fc.weight, model.head.fc.bias
    assert 0.95 * bound < weight.abs().max() <= bound and abs(weight.std().item() - bound / math.sqrt(3)) < 0.01
    assert 0 < bias.abs().max() <= bound


# --- blocks, written out ---------------------------------------------------------------------------------------------


def _randomise(module):
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


def _norm(norm, x):
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (x - norm.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)


@pytest.mark.parametrize(('channels', 'stride'), [(8, 1), (6, 1), (8, 2)])
def test_wide_block_written_out(channels, stride):
    """Guards a shortcut that is fed by the raw map, has a batch norm, or is missing where the shape changes."""
    block = _randomise(WideBlock(channels, 8, stride=stride, dropout=0.3))
    x = torch.randn(2, channels, 6, 6)
    active = F.relu(_norm(block.norm1, x))
    inner = F.relu(_norm(block.norm2, F.conv2d(active, block.conv1.weight, stride=stride, padding=1)))
    expected = F.conv2d(inner, block.conv2.weight, padding=1)
    if channels == 8 and stride == 1:
        assert block.shortcut is None
        expected = expected + x
    else:
        expected = expected + F.conv2d(active, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_wide_resnet_drops_before_the_second_convolution():
    """Guards the place of dropout, and that the 16-8 network has none."""
    block = WideBlock(64, 64, stride=1, dropout=0.3).train()
    seen = []
    block.conv2.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    block.conv1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    block(torch.randn(8, 64, 8, 8))
    zeros = [(x == 0).float().mean().item() for x in seen]
    assert abs(zeros[0] - 0.5) < 0.02 and abs(zeros[1] - (0.5 + 0.5 * 0.3)) < 0.02
    assert [_config(f'cifar_wrn-{name}').backbone.get('dropout', 0) for name in ('16-8', '28-10')] == [0, 0.3]


@pytest.mark.parametrize('with_cp', [False, True])
def test_squeeze_and_excitation_written_out(with_cp):
    """Guards its place: after the second batch norm, before the sum; hidden layers of 1, 2 and 4 without bias."""
    block = _randomise(SEBasicBlock(32, 32, with_cp=with_cp))
    x = torch.randn(2, 32, 5, 5, requires_grad=True)
    inner = F.relu(_norm(block.norm1, F.conv2d(x, block.conv1.weight, padding=1)))
    inner = _norm(block.norm2, F.conv2d(inner, block.conv2.weight, padding=1))
    down, up = (layer.conv.weight[..., 0, 0] for layer in (block.se_layer.conv1, block.se_layer.conv2))
    scale = torch.sigmoid(F.relu(inner.mean((2, 3)) @ down.T) @ up.T)
    torch.testing.assert_close(block(x), F.relu(x + inner * scale[..., None, None]), rtol=1e-4, atol=1e-5)
    hidden = [m.out_channels for n, m in CIFARSEResNet(20).named_modules() if n.endswith('se_layer.conv1.conv')]
    assert hidden == [1] * 3 + [2] * 3 + [4] * 3


def test_resnet_is_post_activation_with_projections():
    """Guards three stages of n blocks, the 3x3 stem without pooling, and shortcuts with batch norm."""
    model = CIFARResNet(32)
    assert [len(getattr(model, f'layer{i}')) for i in (1, 2, 3)] == [5, 5, 5]
    assert tuple(model.conv1.weight.shape) == (16, 3, 3, 3) and model.conv1.stride == (1, 1)
    shortcuts = {name: module for name, module in model.named_modules() if name.endswith('.downsample')}
    assert list(shortcuts) == ['layer2.0.downsample', 'layer3.0.downsample']
    assert all([type(m) for m in s] == [nn.Conv2d, nn.BatchNorm2d] for s in shortcuts.values())


def test_resnext_widths():
    """Guards the groups' widths 512, 1024, 2048 and the stride, which is in the 3x3 convolution."""
    model = CIFARResNeXt(11)
    blocks = [getattr(model, f'layer{i}')[0] for i in (1, 2, 3)]
    assert [block.conv2.out_channels for block in blocks] == [512, 1024, 2048]
    assert [block.conv3.out_channels for block in blocks] == [256, 512, 1024]
    assert all(block.conv2.groups == 8 for block in blocks)
    assert [block.conv2.stride[0] for block in blocks] == [1, 2, 2]
    assert all(block.conv1.stride == (1, 1) for block in blocks)


def test_densenet_stem_and_end():
    """Guards the bare 3x3 stem, in place of the host's 7x7 with pooling, and the last batch norm and ReLU."""
    model = CIFARDenseNet(100)
    assert isinstance(model.stem, nn.Conv2d) and tuple(model.stem.weight.shape) == (24, 3, 3, 3)
    assert [len(stage.block) for stage in model.stages] == [16, 16, 16]
    assert [type(m) for m in model.transitions[2]] == [nn.BatchNorm2d, nn.ReLU]
    assert [t.conv.out_channels for t in model.transitions[:2]] == [108, 150]


# --- Shake-Shake -----------------------------------------------------------------------------------------------------


def _coefficients(samples=20000):
    """Forward and backward coefficients of each sample, read off the results of known branches."""
    a = torch.ones(samples, 2, 1, 2, requires_grad=True)
    b = torch.zeros(samples, 2, 1, 2, requires_grad=True)
    mixed = shake(a, b, training=True)
    mixed.backward(torch.ones_like(mixed))
    return mixed.detach(), a.grad, b.grad


def test_shake_draws_one_pair_of_coefficients_for_each_sample():
    """Guards coefficients of the whole batch, or of every pixel, and gradients that do not add up."""
    alpha, grad_a, grad_b = _coefficients(64)
    for values in (alpha, grad_a):
        assert torch.equal(values, values[:, :1, :1, :1].expand_as(values))
        assert len(values[:, 0, 0, 0].unique()) == 64
    torch.testing.assert_close(grad_a + grad_b, torch.ones_like(grad_a))


def test_shake_coefficients_are_uniform_and_independent():
    """Guards the same coefficient both ways (correlation 1) and another range, at six standard errors."""
    samples = 20000
    alpha, beta, _ = (values[:, 0, 0, 0] for values in _coefficients(samples))
    for values in (alpha, beta):
        assert values.min() >= 0 and values.max() <= 1
        assert abs(values.mean().item() - 1 / 2) < 6 * math.sqrt(1 / 12 / samples)
        assert abs(values.var().item() - 1 / 12) < 6 * math.sqrt(1 / 180 / samples)
        quarters = torch.histc(values, 4, 0, 1) / samples
        assert (quarters - 1 / 4).abs().max() < 6 * math.sqrt(3 / 16 / samples)
    correlation = torch.corrcoef(torch.stack([alpha, beta]))[0, 1].item()
    assert abs(correlation) < 6 / math.sqrt(samples)


def test_shake_by_hand(monkeypatch):
    """Guards which branch gets alpha, and that the backward pass uses the second coefficient alone."""
    draws = torch.tensor([[0.25, 1.0], [0.75, 0.5]]).view(2, 2, 1, 1, 1)
    monkeypatch.setattr(torch, 'rand', lambda *size, device: draws)
    a = torch.tensor([4.0, 2.0], dtype=torch.float64).view(2, 1, 1, 1).requires_grad_()
    b = torch.tensor([8.0, 6.0], dtype=torch.float64).view(2, 1, 1, 1).requires_grad_()
    mixed = shake(a, b, training=True)
    mixed.backward(torch.tensor([10.0, 20.0], dtype=torch.float64).view(2, 1, 1, 1))
    assert mixed.flatten().tolist() == [7.0, 2.0]
    assert a.grad.flatten().tolist() == [7.5, 10.0] and b.grad.flatten().tolist() == [2.5, 10.0]
    assert shake(a, b, training=False).flatten().tolist() == [6.0, 4.0]


def test_shake_keeps_half_precision():
    """Guards mixed precision, in which a float32 coefficient would widen every map after it."""
    a, b = (torch.randn(2, 3, 4, 4, dtype=torch.bfloat16) for _ in range(2))
    assert shake(a, b, training=True).dtype == shake(a, b, training=False).dtype == torch.bfloat16


@pytest.mark.parametrize('stride', [1, 2])
def test_skewed_shortcut_written_out(stride):
    """Guards the pixel between the two paths, its direction, the border of zeros, and the ReLU ahead of both."""
    layer = _randomise(SkewedShortcut(3, 8, stride=stride))
    x = torch.randn(1, 3, 6, 6)
    size = 6 // stride
    joined = torch.zeros(1, 8, size, size)
    for row in range(size):
        for column in range(size):
            here = x[0, :, stride * row, stride * column].clamp(min=0)
            inside = stride * row + 1 < 6 and stride * column + 1 < 6
            there = x[0, :, stride * row + 1, stride * column + 1].clamp(min=0) if inside else torch.zeros(3)
            joined[0, :4, row, column] = layer.conv1.weight[..., 0, 0] @ here
            joined[0, 4:, row, column] = layer.conv2.weight[..., 0, 0] @ there
    torch.testing.assert_close(layer(x), _norm(layer.norm, joined), rtol=1e-4, atol=1e-5)


def test_shake_shake_layers():
    """Guards the order within a branch, the stem's bias, one shortcut a stage, and the last ReLU."""
    model = ShakeShake(26, base_channels=8)
    kinds = [type(layer).__name__ for layer in model.blocks[0].branch1]
    assert kinds == ['ReLU', 'Conv2d', 'BatchNorm2d', 'ReLU', 'Conv2d', 'BatchNorm2d']
    assert [index for index, block in enumerate(model.blocks) if block.shortcut is not None] == [0, 4, 8]
    assert [type(layer) for layer in model.stem] == [nn.Conv2d, nn.BatchNorm2d] and model.stem[0].bias is not None
    assert all(m.bias is None for m in model.blocks.modules() if isinstance(m, nn.Conv2d))
    (out,) = model(torch.randn(2, 3, 16, 16))
    assert out.min() == 0 and out.shape == (2, 32, 4, 4)


def test_idle_shortcuts_change_nothing_but_the_count():
    """Guards weights that are there for the paper's count alone: not trained, not run, no drawback to several GPUs."""
    plain, padded = ShakeShake(14, base_channels=8), ShakeShake(14, base_channels=8, idle_shortcuts=True)
    extra = set(padded.state_dict()) - set(plain.state_dict())
    assert extra and all('.idle.' in name for name in extra)
    assert not any(p.requires_grad for n, p in padded.named_parameters() if '.idle.' in n)
    padded.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 3, 16, 16)
    for model in (plain, padded):
        model.eval()
    assert torch.equal(plain(x)[0], padded(x)[0])


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_dropout_of_resnet_stands_before_the_second_convolution():
    """Guards dropout in evaluation, and other names of the weights, which no checkpoint would fit."""
    network, plain = CIFARResNet(depth=8, base_channels=2, dropout=0.5), CIFARResNet(depth=8, base_channels=2)
    plain.load_state_dict(network.state_dict())
    images, seen = torch.randn(2, 3, 8, 8), []
    for each in (network, plain):
        each.layer1[0].conv2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        each.eval()  # MMPretrain's ResNet returns None
    assert torch.equal(network(images)[0], plain(images)[0])
    for each in (network, plain):
        each.train()
        each(images)
    dropped, whole = seen[2:]
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    assert 0.3 < kept.sum() / (whole != 0).sum() < 0.7


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        (CIFARResNet, dict(depth=34), 'depth must be 6 n .* got 34'),
        (CIFARResNet, dict(depth=2), 'depth must be 6 n .* got 2'),
        (CIFARResNet, dict(depth=8, dropout=1.0), 'dropout must lie in .* got 1.0'),
        (CIFARResNeXt, dict(depth=50), 'depth must be 9 n .* got 50'),
        (CIFARDenseNet, dict(depth=121), 'depth must be 6 n .* got 121'),
        (WideResNet, dict(depth=26, widen_factor=8), 'depth must be 6 n .* got 26'),
        (WideResNet, dict(depth=16, widen_factor=0), 'widen_factor must be at least 1, got 0'),
        (WideResNet, dict(depth=16, widen_factor=1, dropout=1.0), 'dropout must be .* got 1.0'),
        (ShakeShake, dict(depth=27), 'depth must be 6 n .* got 27'),
        (ShakeShake, dict(base_channels=9), 'base_channels must be .* got 9'),
    ],
)
def test_mistakes_are_named(kind, options, message):
    """Guards against networks of another depth than was asked for, and failures deep inside PyTorch."""
    with pytest.raises(ValueError, match=message):
        kind(**options)
