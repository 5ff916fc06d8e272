"""Publishing: what stays, what goes, and that nothing of the user's is lost."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmseg_isda.checkpoints.publishing import publish_checkpoint
from mmseg_isda.errors import CheckpointError, ExistingPathError, MissingPathError, OptionError
from tests.checkpoints.test_statistics import statistics


@pytest.fixture
def source(tmp_path):
    history = HistoryBuffer()
    history.update(1.0)
    state = OrderedDict({'backbone.conv.weight': torch.arange(100.0)[:4]})
    state |= statistics('decode_head.loss_decode.1')
    meta = dict(
        cfg='model = 1',
        mmengine_version='0',
        dataset_meta=dict(classes=('a', 'b'), palette=np.array([[1, 2, 3]]), label_map={0: np.int64(1)}),
        hook_msgs=dict(last_ckpt='/home/somebody/iter_2.pth'),
    )
    content = dict(
        meta=meta, state_dict=state, optimizer={}, param_schedulers=[], ema_state_dict={},
        message_hub=dict(log_scalars={'loss': history}),
    )  # fmt: skip
    torch.save(content, tmp_path / 'iter_2.pth')
    return tmp_path / 'iter_2.pth'


def test_only_weights_and_meta_stay(source, tmp_path):
    """Optimizer and logs treble the size and tell where the run was; a plain torch.load must read the rest."""
    published = publish_checkpoint(source, tmp_path / 'public' / 'psp.pth')
    torch.serialization.clear_safe_globals()  # as a stranger's process
    content = torch.load(published.path, weights_only=True)
    assert content['meta'] == dict(
        cfg='model = 1',
        mmengine_version='0',
        dataset_meta=dict(classes=('a', 'b'), palette=[[1, 2, 3]], label_map={0: 1}),
    )
    assert content.keys() == {'meta', 'state_dict'} and list(content['state_dict']) == ['backbone.conv.weight']
    assert content['state_dict']['backbone.conv.weight'].untyped_storage().nbytes() == 16, 'a view carries its storage'
    assert set(published.dropped_entries) == {'optimizer', 'param_schedulers', 'ema_state_dict', 'message_hub'}
    assert len(published.dropped_statistics) == 3


def test_name_carries_the_hash(source, tmp_path):
    path = publish_checkpoint(source, tmp_path / 'psp.pth').path
    assert path.name == f'psp-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'
    other = publish_checkpoint(source, tmp_path / 'v1.0').path
    assert other.name == path.name.replace('psp', 'v1.0'), 'the same weights, the same hash; no suffix is cut off'


def test_nothing_is_overwritten_without_force(source, tmp_path):
    path = publish_checkpoint(source, tmp_path / 'psp.pth').path
    path.write_text('mine')
    with pytest.raises(ExistingPathError, match='--force'):
        publish_checkpoint(source, tmp_path / 'psp.pth')
    assert path.read_text() == 'mine'
    publish_checkpoint(source, tmp_path / 'psp.pth', force=True)
    assert path.read_bytes()[:2] == b'PK'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['iter_2.pth', path.name], 'temporary files are left'


def test_bare_state_dict(tmp_path):
    torch.save({'weight': torch.ones(1)}, tmp_path / 'bare.pth')
    published = publish_checkpoint(tmp_path / 'bare.pth', tmp_path / 'out')
    assert torch.load(published.path, weights_only=True)['state_dict'] == {'weight': torch.ones(1)}
    assert published.dropped_entries == ()


def test_mistakes(source, tmp_path):
    with pytest.raises(MissingPathError, match=r'iter_3\.pth does not exist; did you mean .*iter_2\.pth'):
        publish_checkpoint(tmp_path / 'iter_3.pth', tmp_path / 'out.pth')
    with pytest.raises(OptionError, match='is a folder'):
        publish_checkpoint(source, tmp_path)
    torch.save(dict(meta={}), tmp_path / 'no_weights.pth')
    with pytest.raises(CheckpointError, match='holds no weights'):
        publish_checkpoint(tmp_path / 'no_weights.pth', tmp_path / 'out.pth')


def test_places_that_cannot_be_written(source, tmp_path):
    """Guards a traceback for a folder of another user, or one that is a file."""
    (tmp_path / 'file').touch()
    with pytest.raises(OptionError, match='cannot be written'):
        publish_checkpoint(source, tmp_path / 'file' / 'psp.pth')
