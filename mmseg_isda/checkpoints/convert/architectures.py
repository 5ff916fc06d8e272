"""The networks that can be converted, told from the shapes of their weights.

An architecture lists the name and shape of every tensor of its backbone, by the names that MMPretrain, MMDetection and
MMSegmentation share: torchvision's for ResNet and ResNeXt, MMPretrain's own for DenseNet. No toolkit is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError, OptionError
from .names import densenet_name

Shape = tuple[int, ...]
COUNTER = 'num_batches_tracked'
# (bottleneck blocks, blocks of each stage): depth
_DEPTHS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
# (growth rate, layers of each block): depth; 265 is the paper's
_DENSENETS = {
    (32, (6, 12, 24, 16)): 121,
    (32, (6, 12, 32, 32)): 169,
    (32, (6, 12, 48, 32)): 201,
    (48, (6, 12, 36, 24)): 161,
    (32, (6, 12, 64, 48)): 265,
}
_USUAL_STEM = {32: 64, 48: 96}
_IN_MMPRETRAIN = (121, 169, 201, 161)


@dataclass(frozen=True)
class Architecture:
    """A network."""

    name: str  # 'resnet50', 'resnext101_32x8d', 'densenet121', ...
    settings: dict[str, Any]  # the backbone as a toolkit's config names it
    num_features: int  # features that enter the classifier
    shapes: dict[str, Shape] = field(repr=False)  # of every tensor of the backbone, by name
    prefix: str = ''  # what the toolkits' backbone puts before these names
    # Of what a classifier has between the backbone and ``fc``.
    tail: dict[str, Shape] = field(repr=False, default_factory=dict)


def detect_architecture(state: Mapping[str, Tensor], *, stem_of_three: bool = False) -> Architecture:
    """Tell the network from the weights of its backbone, by the names that the toolkits share.

    With ``stem_of_three`` a ResNet has MIT CSAIL's stem, three convolutions of 3x3 with 64, 64, 128 channels.

    Raises:
        CheckpointError: if it is none of those that can be converted.
    """
    if any(key.startswith('stages.') for key in state) and 'transitions.0.conv.weight' in state:
        return _detect_densenet(state)
    if any(key.startswith('stem.') for key in state) and not stem_of_three:
        raise CheckpointError(
            'this ResNet has a stem of three convolutions (stem.0, stem.3, stem.6: ResNetV1c or V1d), which the '
            'ResNets here, with one convolution of 7x7, do not have; its weights cannot be converted'
        )
    if any(re.match(r'layer1\.\d+\.', key) for key in state) and (stem_of_three or 'conv1.weight' in state):
        return _detect_resnet(state, stem_of_three)
    raise CheckpointError(
        'the weights are of no network that can be converted: expected a ResNet or ResNeXt (conv1, layer1 to layer4) '
        f'or a DenseNet (features.* or stem and stages), got names such as {", ".join(sorted(state)[:4]) or "none"}'
    )


# --- ResNet, ResNeXt -------------------------------------------------------------------------------------------------


def _detect_resnet(state: Mapping[str, Tensor], stem_of_three: bool) -> Architecture:
    base = 64 if stem_of_three else _stem_channels(state)
    depths = tuple(_count(state, rf'layer{stage}\.(\d+)\.') for stage in (1, 2, 3, 4))
    bottleneck = any(re.match(r'layer1\.\d+\.conv3\.weight', key) for key in state)
    depth = _DEPTHS.get((bottleneck, depths))
    if depth is None:
        kind = 'bottleneck' if bottleneck else 'basic'
        raise CheckpointError(
            f'layer1 to layer4 have {", ".join(map(str, depths))} {kind} blocks, as no ResNet-18, 34, 50, 101 or 152 '
            f'has; the file is of another network, or incomplete'
        )
    groups, width = _groups(state, base) if bottleneck else (1, base)
    if groups == 1 and width != base:
        raise CheckpointError(
            f'this is a wide ResNet-{depth} (bottlenecks of {width} instead of {base} channels), which the toolkits do '
            f'not have'
        )
    if groups > 1 and stem_of_three:
        raise CheckpointError('this is a ResNeXt with a stem of three convolutions, which the toolkits do not have')
    name, settings = f'resnet{depth}', dict(type='ResNet', depth=depth)
    if groups > 1:
        name = f'resnext{depth}_{groups}x{width // groups}d'
        settings |= dict(type='ResNeXt', groups=groups, base_width=width // groups)
    if base != 64:
        name += f'_base{base}'
        settings |= dict(stem_channels=base, base_channels=base)
    shapes, channels = _convolution('conv1', 'bn1', (base, 3, 7, 7)), base
    if stem_of_three:
        name += '_csail'
        settings |= dict(type='ResNetV1c', stem_channels=128)
        shapes, channels = {}, 128
        for number, (out, into) in ((0, (64, 3)), (3, (64, 64)), (6, (128, 64))):
            shapes |= _convolution(f'stem.{number}', f'stem.{number + 1}', (out, into, 3, 3))
    shapes |= _stage_shapes(channels, base, depths, bottleneck, groups, width)
    return Architecture(name, settings, base * 8 * (4 if bottleneck else 1), shapes)


def _stem_channels(state: Mapping[str, Tensor]) -> int:
    stem = tuple(state['conv1.weight'].shape)
    if len(stem) != 4 or stem[2:] != (7, 7) or 'conv2.weight' in state:
        extra = ', then conv2' if 'conv2.weight' in state else ''
        raise CheckpointError(
            f'this ResNet has another stem, conv1 of shape {stem}{extra} (one for CIFAR, say): only those with one '
            f'convolution of 7x7, or with the three of MIT CSAIL, can be converted'
        )
    return stem[0]


def _groups(state: Mapping[str, Tensor], base: int) -> tuple[int, int]:
    """Return groups and channels of the 3x3 convolutions of the first stage."""
    convolution = state.get('layer1.0.conv2.weight')
    if convolution is None or convolution.ndim != 4:
        return 1, base
    width, per_group = convolution.shape[:2]
    return max(1, width // max(1, per_group)), width


def _stage_shapes(
    channels: int, base: int, depths: Shape, bottleneck: bool, groups: int, width: int
) -> dict[str, Shape]:
    """Return the shapes of the four stages; ``channels`` enter the first."""
    shapes: dict[str, Shape] = {}
    for stage, depth in enumerate(depths):
        planes, inner = base * 2**stage, width * 2**stage
        out = planes * 4 if bottleneck else planes
        for block in range(depth):
            name = f'layer{stage + 1}.{block}'
            kernels = (
                [(inner, channels, 1, 1), (inner, inner // groups, 3, 3), (out, inner, 1, 1)]
                if bottleneck
                else [(out, channels, 3, 3), (out, out, 3, 3)]
            )
            for number, kernel in enumerate(kernels, start=1):
                shapes |= _convolution(f'{name}.conv{number}', f'{name}.bn{number}', kernel)
            if block == 0 and (stage > 0 or channels != out):
                shapes |= _convolution(f'{name}.downsample.0', f'{name}.downsample.1', (out, channels, 1, 1))
            channels = out
    return shapes


def _convolution(name: str, norm: str, kernel: Shape) -> dict[str, Shape]:
    """Return the shapes of a convolution without bias and of the batch norm that follows it."""
    parts = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.weight': kernel} | {f'{norm}.{part}': kernel[:1] for part in parts} | {f'{norm}.{COUNTER}': ()}


# --- DenseNet --------------------------------------------------------------------------------------------------------


def _detect_densenet(state: Mapping[str, Tensor]) -> Architecture:
    blocks = _count(state, r'stages\.(\d+)\.')
    depths = tuple(_count(state, rf'stages\.{stage}\.block\.(\d+)\.') for stage in range(blocks))
    growth = _channels(state, 'stages.0.block.0.conv2.weight')
    init = _channels(state, 'stem.0.weight')
    depth = _DENSENETS.get((growth, depths))
    if depth is None:
        raise CheckpointError(
            f'a DenseNet with growth rate {growth} and blocks of {", ".join(map(str, depths))} layers is none of '
            f'{", ".join(map(str, sorted(_DENSENETS.values())))}; the file is of another network, or incomplete'
        )
    name, arch = f'densenet{depth}', str(depth)
    if init != _USUAL_STEM[growth]:
        name += f'_stem{init}'
    if init != _USUAL_STEM[growth] or depth not in _IN_MMPRETRAIN:
        arch = dict(growth_rate=growth, depths=list(depths), init_channels=init)
    models = library('torchvision').models
    with torch.device('meta'):
        network = models.DenseNet(growth, depths, init)
    features = network.features.state_dict(prefix='features.')
    shapes = {densenet_name(key): tuple(value.shape) for key, value in features.items()}
    return Architecture(name, dict(type='DenseNet', arch=arch), network.classifier.in_features, shapes)


# --- all ------------------------------------------------------------------------------------------------------------


def library(name: str) -> ModuleType:
    """Return a library that knows the shapes of a network, and that its backbone needs as well."""
    try:
        return import_module(name)
    except ImportError as error:
        raise OptionError(f'weights of this network are converted by {name}: pip install {name}') from error


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return one more than the highest number that a pattern finds: what is missing below it is found missing later."""
    numbers = [int(match[1]) for key in state if (match := re.match(pattern, key))]
    return max(numbers, default=-1) + 1


def _channels(state: Mapping[str, Tensor], key: str) -> int:
    tensor = state.get(key)
    return 0 if tensor is None or tensor.ndim == 0 else tensor.shape[0]
