"""From the names of a source to those that the toolkits share, without a prefix; the classifier is ``fc``."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Kinds of source, in words.
SOURCES = {
    'mmpretrain': 'a checkpoint of MMPretrain (names with backbone.)',
    'torchvision': "a state dict with torchvision's names",
    'efficientnet': "a state dict with efficientnet_pytorch's names",
    'toolkit': 'a backbone of MMDetection, MMSegmentation or MMPretrain',
    'csail': "MIT CSAIL's weights, with a stem of three convolutions",
}
# DenseNet as torchvision and the authors name it; older files write norm.1 for norm1.
_LAYER = re.compile(r'features\.denseblock(\d+)\.denselayer(\d+)\.(norm|conv)\.?([12])\.(\w+)')
_TRANSITION = re.compile(r'features\.transition(\d+)\.(norm|conv)\.(\w+)')
_STEM = re.compile(r'features\.(conv|norm)0\.(\w+)')
_LAST_NORM = re.compile(r'features\.norm(?:5|_final)\.(\w+)')
# CSAIL's stem, as MMSegmentation's ResNetV1c numbers it.
_STEM_OF_THREE = {'conv1': 0, 'bn1': 1, 'conv2': 3, 'bn2': 4, 'conv3': 6, 'bn3': 7}
# What a network's own modules are called: an unknown tensor there means another network, elsewhere something beside it.
_OWN = re.compile(r'(?:conv\d|bn\d|layer\d|stem|stages|transitions|features|fc|classifier)\.')


def strip_wrappers(keys: Iterable[str]) -> dict[str, str]:
    """Return each key without the ``module.`` of DataParallel and DDP, ``{key: short key}``, if all keys have it."""
    keys = list(keys)
    wrappers = min((re.match(r'(?:module\.)*', key)[0] for key in keys), default='')
    return {key: key.removeprefix(wrappers) for key in keys}


def detect_source(keys: Iterable[str]) -> str:
    """Return which of ``SOURCES`` the keys are of."""
    keys = list(keys)
    if '_conv_stem.weight' in keys:
        return 'efficientnet'
    if any(key.startswith('backbone.') for key in keys):
        return 'mmpretrain'
    if any(key.startswith('conv3.') for key in keys):
        return 'csail'
    if any(key.startswith('stages.') for key in keys) or not any(key.startswith(('fc.', 'features.')) for key in keys):
        return 'toolkit'
    return 'torchvision'


def shared_name(key: str, source: str) -> str | None:
    """Return the name that the toolkits share, or None for what is no part of the network."""
    if source == 'mmpretrain':
        if key.startswith('backbone.'):
            return key.removeprefix('backbone.')
        return key.removeprefix('head.') if re.fullmatch(r'head\.fc\.(weight|bias)', key) else None
    if not _OWN.match(key):
        return None
    module, _, rest = key.partition('.')
    if source == 'csail' and module in _STEM_OF_THREE:
        return f'stem.{_STEM_OF_THREE[module]}.{rest}'
    key = re.sub(r'^classifier\.', 'fc.', key)
    return densenet_name(key) if key.startswith('features.') else key


def densenet_name(key: str) -> str:
    """Return MMPretrain's name of a weight of torchvision's DenseNet."""
    if match := _LAYER.fullmatch(key):
        block, layer, kind, number, rest = match.groups()
        return f'stages.{int(block) - 1}.block.{int(layer) - 1}.{kind}{number}.{rest}'
    if match := _TRANSITION.fullmatch(key):
        return f'transitions.{int(match[1]) - 1}.{match[2]}.{match[3]}'
    if match := _STEM.fullmatch(key):
        return f'stem.{0 if match[1] == "conv" else 1}.{match[2]}'
    if match := _LAST_NORM.fullmatch(key):
        return f'transitions.3.0.{match[1]}'
    return key
