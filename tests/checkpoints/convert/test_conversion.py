"""Conversion: the same features, every name accounted for, and no half or wrong file."""

from __future__ import annotations

import hashlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip('torchvision')
pytest.importorskip('mmpretrain')

from mmseg_isda.checkpoints.convert import convert_checkpoint, convert_weights
from mmseg_isda.errors import CheckpointError, ExistingPathError, MissingPathError, OptionError
from tests.checkpoints.convert.sources import (
    NETWORKS,
    as_bare,
    as_mmpretrain,
    as_training_checkpoint,
    source_features,
    source_network,
)

TOOL = Path(__file__).resolve().parents[3] / 'tools' / 'convert_checkpoint.py'
QUICK = ('resnet18', 'resnet50', 'resnext50_32x4d', 'densenet121')
EACH_NETWORK = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


def _registry(toolkit: str):
    """The registry of a toolkit's networks; the test is skipped where the toolkit or its operators are missing."""
    try:
        if toolkit == 'mmdet':
            import mmdet.models  # noqa: F401
        elif toolkit == 'mmseg':
            import mmseg.models  # noqa: F401
    except ImportError as error:
        pytest.skip(f'{toolkit} cannot be imported: {error}')
    return __import__(f'{toolkit}.registry', fromlist=['MODELS']).MODELS


def _build(done, **options):
    backbone = _registry(done.target).build(dict(done.backbone, **options))
    backbone.eval()  # returns None for some
    return backbone


def _below(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _close(ours, theirs) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert other.std() > 0.05, 'a test of zeros proves nothing'


@pytest.fixture(scope='module')
def resnet18():
    torch.manual_seed(0)
    return source_network('resnet18')


# --- the same features -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', EACH_NETWORK)
def test_features_equal_those_of_the_source(name):
    """Guards a name that is swapped with one of the same shape, and a backbone of the same shapes but another style."""
    network, images = source_network(name), torch.randn(2, 3, 64, 64)
    features = source_features(network, images)
    with torch.no_grad():
        logits = network(images)
    sources = [as_bare(network), as_training_checkpoint(network)['state_dict']]
    settings = convert_weights(sources[0], 'mmpretrain').backbone
    sources.append(as_mmpretrain(network, settings, _registry('mmpretrain'))['state_dict'])
    for target in ('mmdet', 'mmseg', 'mmpretrain'):
        converted = [convert_weights(source, target, arch=name) for source in sources]
        for done in converted[1:]:
            assert done.state_dict.keys() == converted[0].state_dict.keys()
            assert all(torch.equal(value, converted[0].state_dict[key]) for key, value in done.state_dict.items())
        done = converted[0]
        backbone = _build(done, out_indices=(0, 1, 2, 3))
        state = done.state_dict
        if target == 'mmpretrain':
            head = {key.removeprefix('head.fc.'): value for key, value in state.items() if key.startswith('head.')}
            state = {
                key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')
            }
        backbone.load_state_dict(state, strict=True)
        with torch.no_grad():
            _close(backbone(images), features)
    pooled = features[-1].mean((2, 3))
    torch.testing.assert_close(torch.nn.functional.linear(pooled, **head), logits, rtol=1e-4, atol=1e-5)


def test_a_classifier_of_mmpretrain_predicts_what_the_source_does(resnet18, tmp_path):
    """Guards the prefixes: a whole ImageClassifier loads the file, with nothing missing and nothing left over."""
    torch.save(as_bare(resnet18), tmp_path / 'source.pth')
    done = convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'classifier.pth', target='mmpretrain')
    model = _registry('mmpretrain').build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=done.backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=512),
        )
    )
    model.load_state_dict(torch.load(tmp_path / 'classifier.pth', weights_only=True)['state_dict'], strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images, mode='tensor'), resnet18(images), rtol=1e-5, atol=1e-5)


def test_a_converted_file_can_be_converted_again(resnet18, tmp_path):
    """Guards a user who has only our backbone for MMDetection and wants one for MMSegmentation."""
    first = convert_weights(as_bare(resnet18), 'mmdet')
    again = convert_weights(first.state_dict, 'mmseg')
    assert list(again.state_dict) == list(first.state_dict)
    with pytest.raises(CheckpointError, match=r'2 missing: fc\.weight, fc\.bias'):
        convert_weights(first.state_dict, 'mmpretrain')


def test_a_slim_network_keeps_its_width():
    """Guards the demo: the settings must name the channels, or the backbone is built at full width."""
    backbone = dict(type='ResNet', depth=18, stem_channels=16, base_channels=16)
    network = _registry('mmpretrain').build(backbone)
    network.eval()
    state = {f'backbone.{key}': value for key, value in network.state_dict().items()}
    done = convert_weights(state, 'mmdet')
    assert done.architecture.name == 'resnet18_base16' and done.backbone == backbone
    target = _build(done, out_indices=(3,))
    target.load_state_dict(done.state_dict)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(target(images)[0], network(images)[0])


def test_densenets_of_old_files():
    """Guards the names norm.1 and conv.2, which files from before PyTorch 1.0 have."""
    network = source_network('densenet121')
    old = {}
    for key, value in network.state_dict().items():
        for kind in ('norm', 'conv'):
            for number in '12':
                key = key.replace(f'.{kind}{number}.', f'.{kind}.{number}.') if 'denselayer' in key else key
        if not key.endswith('num_batches_tracked'):
            old[key] = value
    new, done = (convert_weights(state, 'mmdet') for state in (network.state_dict(), old))
    assert len(done.added) == 121 and all(done.state_dict[name] == 0 for name in done.added)
    for name, value in new.state_dict.items():
        assert name in done.added or torch.equal(done.state_dict[name], value)


# --- every name ------------------------------------------------------------------------------------------------------


def test_every_name_is_accounted_for(resnet18, tmp_path):
    """Guards a weight that vanishes without a word: each name of the file is mapped or dropped, with the reason."""
    settings = convert_weights(as_bare(resnet18), 'mmpretrain').backbone
    content = as_mmpretrain(resnet18, settings, _registry('mmpretrain'))
    torch.save(content, tmp_path / 'epoch_1.pth')
    done = convert_checkpoint(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth')
    entries = {'meta', 'ema_state_dict', 'optimizer', 'message_hub'}
    assert done.mapped.keys() | done.dropped.keys() == content['state_dict'].keys() | entries
    assert not done.mapped.keys() & done.dropped.keys()
    assert {name for name, why in done.dropped.items() if 'statistics' in why} == {
        f'head.loss_module.statistics.{name}' for name in ('count', 'mean', 'covariance')
    }
    assert 'before averaging' in done.dropped['ema_state_dict']
    written = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert set(done.mapped.values()) == written['state_dict'].keys()
    first = next(iter(resnet18.state_dict()))
    assert torch.equal(written['state_dict'][first], resnet18.state_dict()[first]), 'not those before averaging'
    text = '\n'.join(done.report(every_name=True))
    assert all(f'{old} -> {new}' in text for old, new in done.mapped.items())
    assert all(f'{name}: {reason}' in text for name, reason in done.dropped.items())


def test_the_file_says_where_it_comes_from(resnet18, tmp_path):
    source = tmp_path / 'source.pth'
    torch.save(as_training_checkpoint(resnet18), source)
    convert_checkpoint(source, tmp_path / 'new' / 'out.pth')
    torch.serialization.clear_safe_globals()  # as a stranger's process
    written = torch.load(tmp_path / 'new' / 'out.pth', weights_only=True)
    assert written['meta']['source_sha256'] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (written['meta']['source'], written['meta']['arch']) == ('source.pth', 'resnet18')
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['out.pth'], 'temporary files are left'


def test_half_precision_becomes_float32(resnet18):
    """Guards a backbone in half precision, which the CPU cannot run and training would keep."""
    state = {key: value.half() if value.is_floating_point() else value for key, value in as_bare(resnet18).items()}
    done = convert_weights(state, 'mmdet')
    kinds = {value.dtype for key, value in done.state_dict.items() if not key.endswith('num_batches_tracked')}
    assert kinds == {torch.float32} and any('float16' in note for note in done.notes)
    full = convert_weights(as_bare(resnet18), 'mmdet')
    assert full.notes == ()
    for key, value in done.state_dict.items():
        torch.testing.assert_close(value, full.state_dict[key], rtol=1e-3, atol=1e-6)


def test_extra_tensors_beside_the_network_are_dropped_and_named(resnet18):
    extra = {'criterion.weight': torch.ones(3), 'statistics.mean': torch.ones(2)}
    done = convert_weights(as_bare(resnet18) | extra, 'mmdet')
    assert {'criterion.weight', 'statistics.mean'} <= done.dropped.keys()
    assert done.state_dict.keys() == convert_weights(as_bare(resnet18), 'mmdet').state_dict.keys()


def test_a_stem_of_three_convolutions_is_told():
    """Guards V1c and V1d, whose later layers agree with a plain ResNet: the stem would stay random."""
    for stem in ('stem.0.weight', 'backbone.stem.0.weight'):
        prefix = 'backbone.' if stem.startswith('backbone') else ''
        state = {stem: torch.zeros(32, 3, 3, 3), f'{prefix}layer1.0.conv1.weight': torch.zeros(64, 64, 1, 1)}
        with pytest.raises(CheckpointError, match='ResNetV1c or V1d'):
            convert_weights(state, 'mmseg')


def test_mmsegmentation_is_told_about_its_stem(resnet18):
    (note,) = convert_weights(as_bare(resnet18), 'mmseg').notes
    assert "type='ResNet'" in note and 'ResNetV1c' in note


# --- mistakes --------------------------------------------------------------------------------------------------------


def _without(state, key):
    return {name: value for name, value in state.items() if name != key}


def _wrong_states(network):
    state, weight = as_bare(network), 'layer3.1.conv2.weight'
    classifier = torch.zeros(5)
    yield _without(state, weight), rf'fit resnet18: 1 missing: {weight}$'
    yield (
        state | {weight: torch.zeros(256, 256, 1, 1)},
        r'1 of another shape: .* instead of \(256, 256, 3, 3\)',
    )
    yield state | {'layer3.1.se.weight': torch.zeros(4)}, r'1 unknown: layer3\.1\.se\.weight'
    yield state | {weight: torch.full((256, 256, 3, 3), torch.nan)}, '1 not of finite numbers'
    yield state | {weight: torch.zeros(256, 256, 3, 3, dtype=torch.int8)}, '1 not of finite numbers'
    yield state | {'layer3.2.conv1.weight': torch.zeros(256, 256, 3, 3)}, 'have 2, 2, 3, 2 basic blocks'
    yield {key: value for key, value in state.items() if 'layer4' not in key}, 'have 2, 2, 2, 0 basic blocks'
    yield state | {'conv1.weight': torch.zeros(64, 3, 3, 3)}, 'CIFAR'
    yield state | {'conv2.weight': torch.zeros(64, 64, 3, 3)}, 'another stem'
    yield {'decode_head.weight': torch.zeros(2)}, 'of no network that can be converted'
    yield {'model.0.weight': torch.zeros(2), 'fc.bias': classifier}, 'expected a ResNet'


def test_weights_that_do_not_fit_are_refused(resnet18):
    """Guards each way to a backbone that is in part random, or another network than the user thinks."""
    for state, message in _wrong_states(resnet18):
        with pytest.raises(CheckpointError, match=message):
            convert_weights(state, 'mmdet')


def test_wide_and_unknown_networks_are_named():
    import torchvision

    with torch.device('meta'):
        wide = torchvision.models.wide_resnet50_2().state_dict()
        dense = torchvision.models.DenseNet(16, (2, 2, 2, 2)).state_dict()
        vgg = torchvision.models.vgg11().state_dict()
    for state, message in (
        (wide, 'wide ResNet-50'),
        (dense, 'growth rate 16 and blocks of 2, 2, 2, 2'),
        (vgg, 'of no network'),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert_weights(state, 'mmdet')


def test_the_wrong_architecture_is_refused(resnet18, tmp_path):
    torch.save(as_bare(resnet18), tmp_path / 'source.pth')
    with pytest.raises(CheckpointError, match='are of resnet18, not of resnet50'):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', arch='resnet50')
    with pytest.raises(OptionError, match="one of mmdet, mmpretrain, mmseg, got 'mmrotate'"):
        convert_weights(as_bare(resnet18), 'mmrotate')
    assert [path.name for path in tmp_path.iterdir()] == ['source.pth']


class _Criterion:
    """Pickled by name, as a training checkpoint's loss is: to load it is to run its code."""

    def __reduce__(self):
        return (Path.touch, (Path('code_was_run'),))


def test_damaged_and_dangerous_files(resnet18, tmp_path, monkeypatch):
    """Guards a target that is half written or replaced by rubbish, and code that runs while a file is read."""
    monkeypatch.chdir(tmp_path)
    good, target = tmp_path / 'good.pth', tmp_path / 'out.pth'
    torch.save(as_training_checkpoint(resnet18), good)
    content = good.read_bytes()
    torch.save(as_training_checkpoint(resnet18) | dict(criterion=_Criterion()), 'code.pth')
    torch.save(as_training_checkpoint(resnet18), 'old.pth', _use_new_zipfile_serialization=False)
    old = Path('old.pth').read_bytes()
    files = {
        'code.pth': (None, r'could run code.*keep the weights alone'),
        'cut.pth': (content[: len(content) // 2], 'cut short'),
        'cut_old.pth': (old[: len(old) // 2], 'damaged or cut short'),
        'flipped.pth': (content[:9000] + bytes(4000) + content[13000:], 'is damaged'),
        'text.pth': (b'<html>404 not found</html>', 'no checkpoint of PyTorch'),
        'empty.pth': (b'', 'is empty'),
    }
    for name, (data, message) in files.items():
        if data is not None:
            Path(name).write_bytes(data)
        target.write_bytes(b'mine')
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(name, target, force=True)
        assert target.read_bytes() == b'mine', name
        target.unlink()
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(name, target)
    assert not Path('code_was_run').exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, 'good.pth', 'old.pth'])
    assert convert_checkpoint('old.pth', target).architecture.name == 'resnet18', 'files before PyTorch 1.6'


def test_an_interrupted_write_leaves_nothing(resnet18, tmp_path, monkeypatch):
    """Guards a full disk: the old file stays as it is, and no half of a new one is left."""
    torch.save(as_bare(resnet18), tmp_path / 'source.pth')
    (tmp_path / 'out.pth').write_bytes(b'mine')

    def full_disk(content, file):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full_disk)
    with pytest.raises(OptionError, match='No space left'):
        convert_checkpoint(tmp_path / 'source.pth', tmp_path / 'out.pth', force=True)
    assert (tmp_path / 'out.pth').read_bytes() == b'mine'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out.pth', 'source.pth']


def test_nothing_is_overwritten_unasked(resnet18, tmp_path):
    source = tmp_path / 'source.pth'
    torch.save(as_bare(resnet18), source)
    target = tmp_path / 'out.pth'
    target.write_bytes(b'mine')
    with pytest.raises(ExistingPathError, match='--force'):
        convert_checkpoint(source, target)
    assert target.read_bytes() == b'mine'
    convert_checkpoint(source, target, force=True)
    assert target.read_bytes()[:2] == b'PK'
    before = source.read_bytes()
    with pytest.raises(OptionError, match='the source itself'):
        convert_checkpoint(source, source, force=True)
    with pytest.raises(OptionError, match='is a folder'):
        convert_checkpoint(source, tmp_path)
    with pytest.raises(MissingPathError, match=r'sauce\.pth does not exist; did you mean .*source\.pth'):
        convert_checkpoint(tmp_path / 'sauce.pth', tmp_path / 'new.pth')
    assert source.read_bytes() == before


def test_the_command(resnet18, tmp_path, monkeypatch, capsys):
    """Guards what a user types: the report, the line for the config, status 2 and one line for a mistake."""
    monkeypatch.chdir(tmp_path)
    torch.save(as_bare(resnet18), 'source.pth')
    words = [str(TOOL), 'source.pth', 'out.pth', '--arch', 'resnet18', '--verbose']
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in ('mapped: 120', 'missing: 0', '  fc.weight: the classifier'))
    assert "(type='ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint='out.pth'))" in done.stdout
    monkeypatch.setattr(sys, 'argv', words)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name='__main__')
    error = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(error) == 1 and error[0].startswith('error: out.pth exists; give --force')
