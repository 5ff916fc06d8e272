"""Reading: nothing that is damaged passes for sound, no code runs, no file takes more memory than it has bytes."""

from __future__ import annotations

import pickle
import random
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmseg_isda.checkpoints.reading import check_resumable, peek_checkpoint, read_checkpoint, state_dict_of
from mmseg_isda.errors import CheckpointError, MissingPathError


def _training_checkpoint() -> dict:
    history = HistoryBuffer()
    history.update(0.5)
    hub = dict(log_scalars={'train/loss': history}, runtime_info={'lr': np.float64(0.1), 'n': np.int64(3)})
    return dict(meta=dict(iter=2), state_dict={'a': torch.ones(2)}, message_hub=hub)


def test_log_histories_are_read_without_running_code(tmp_path):
    """PyTorch 2.6 refuses MMEngine's log buffers, so that training could not be resumed."""
    torch.save(_training_checkpoint(), tmp_path / 'iter_2.pth')
    hub = read_checkpoint(tmp_path / 'iter_2.pth')['message_hub']
    assert hub['log_scalars']['train/loss'].mean() == 0.5
    assert hub['runtime_info'] == {'lr': 0.1, 'n': 3}


def test_checkpoint_of_the_other_numpy(tmp_path):
    """NumPy 2 renamed numpy.core: a run begun under one version must go on under the other."""
    for name in ('numpy.core', 'numpy._core'):
        torch.save(_training_checkpoint(), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
        content = (tmp_path / 'a.pth').read_bytes()
        other = content.replace(b'cnumpy._core.', b'cnumpy.core.').replace(b'cnumpy.core.', f'c{name}.'.encode())
        assert f'c{name}.multiarray'.encode() in other
        (tmp_path / 'b.pth').write_bytes(other)
        assert read_checkpoint(tmp_path / 'b.pth')['message_hub']['log_scalars']['train/loss'].max() == 0.5


class _Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


class _Attribute:
    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    """A checkpoint of a stranger must not open a file, nor reach beyond the four methods of a log buffer."""
    for kind, save in (
        ('zip', torch.save),
        ('plain', lambda content, path: path.write_bytes(pickle.dumps(content, 2))),
    ):
        save({'state_dict': _Code(str(tmp_path / 'ran'))}, tmp_path / f'{kind}.pth')
        with pytest.raises(CheckpointError, match='could run code'):
            read_checkpoint(tmp_path / f'{kind}.pth')
    torch.save({'state_dict': _Attribute()}, tmp_path / 'attribute.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        read_checkpoint(tmp_path / 'attribute.pth')
    assert not (tmp_path / 'ran').exists()


def test_files_that_are_no_checkpoint(tmp_path):
    torch.save(_training_checkpoint(), tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    for content, message in (
        (b'hello', 'is no checkpoint of PyTorch'),
        (b'', 'is empty'),
        (whole[: len(whole) // 2], 'is cut short'),
        (b'\x80\x02', 'damaged or cut short|could run code'),
    ):
        (tmp_path / 'file.pth').write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / 'file.pth')
    with pytest.raises(MissingPathError, match='is a folder'):
        read_checkpoint(tmp_path)
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='got list'):
        read_checkpoint(tmp_path / 'list.pth')


# --- damage ----------------------------------------------------------------------------------------------------------


def _flatten(value):
    if isinstance(value, dict):
        return [item for key in value for item in (key, *_flatten(value[key]))]
    return value.tolist() if isinstance(value, torch.Tensor) else [repr(getattr(value, '__dict__', value))]


def test_flipped_bytes_never_pass_for_sound(tmp_path):
    """PyTorch does not look at the checksums: a weight whose bytes have changed trains on without a word."""
    torch.save(_training_checkpoint(), tmp_path / 'a.pth')
    sound, chance = (tmp_path / 'a.pth').read_bytes(), random.Random(0)
    truth = _flatten(read_checkpoint(tmp_path / 'a.pth'))
    refused = 0
    for position in range(0, len(sound), 5):
        flipped = bytearray(sound)
        flipped[position] ^= chance.randint(1, 255)
        (tmp_path / 'b.pth').write_bytes(flipped)
        try:
            assert _flatten(read_checkpoint(tmp_path / 'b.pth')) == truth, position  # bytes of no meaning
        except CheckpointError as error:
            assert 'b.pth' in str(error)
            refused += 1
    assert refused > len(sound) / 5 * 0.3


def test_cut_files_are_refused_at_any_length(tmp_path):
    torch.save(_training_checkpoint(), tmp_path / 'a.pth')
    sound = (tmp_path / 'a.pth').read_bytes()
    for length in range(0, len(sound), 61):
        (tmp_path / 'b.pth').write_bytes(sound[:length])
        for read in (read_checkpoint, peek_checkpoint):
            with pytest.raises(CheckpointError, match=r'b\.pth'):
                read(tmp_path / 'b.pth')


@pytest.mark.parametrize('kind', ['compressed', 'overlapping'])
def test_decompression_bombs_take_no_memory(tmp_path, kind):
    """A file of 3 MB can unpack to 6 GB; PyTorch's reader decompresses."""
    torch.save({'a': torch.zeros(1 << 22)}, tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth') as source, zipfile.ZipFile(tmp_path / 'bomb.pth', 'w') as bomb:
        for entry in source.infolist():
            how = zipfile.ZIP_DEFLATED if kind == 'compressed' else zipfile.ZIP_STORED
            bomb.writestr(entry.filename, source.read(entry), how)
        if kind == 'overlapping':
            bomb.filelist += [entry for entry in bomb.filelist if '/data/' in entry.filename] * 100
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r'bomb\.pth .* unpacks to .* bytes'):
        read_checkpoint(tmp_path / 'bomb.pth')
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({'a': torch.zeros(1).expand(1 << 40)}, 'memory bomb'),
        ({f'{i}': torch.zeros(1).expand(1 << 26) for i in range(9)}, 'memory bomb'),
        ({'a': torch.zeros(2, 2).to_sparse()}, '1 weights are sparse or without numbers, first a'),
        ({'a': torch.zeros(2, device='meta')}, 'without numbers'),
        ({1: torch.zeros(2)}, 'holds no weights'),
        ({'a': [1.0]}, 'holds no weights'),
        ({}, 'holds no weights'),
    ],
)
def test_weights_are_plain_tensors(state, message, tmp_path):
    """Guards views that claim more numbers than the file holds: to copy one of 2^40 would take 4 TB."""
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=message):
        state_dict_of(read_checkpoint(tmp_path / 'a.pth'), 'a.pth')


def test_small_views_are_weights(tmp_path):
    """Guards networks that save an expanded buffer of positions."""
    torch.save(dict(state_dict={'positions': torch.arange(4).expand(2, 4)}), tmp_path / 'a.pth')
    assert state_dict_of(read_checkpoint(tmp_path / 'a.pth'), 'a.pth')['positions'].shape == (2, 4)


# --- resuming --------------------------------------------------------------------------------------------------------


def test_published_weights_cannot_be_resumed(tmp_path):
    """They hold no state of training; MMEngine fails with a KeyError."""
    torch.save(dict(meta={}, state_dict={'a': torch.ones(1)}), tmp_path / 'weights.pth')
    with pytest.raises(CheckpointError, match=r'no message_hub.*load_from='):
        check_resumable(tmp_path / 'weights.pth')


def test_peeking_reads_entries_and_no_tensors(tmp_path):
    """Guards a folder of many large checkpoints, of which the newest is looked for."""
    content = _training_checkpoint()
    content['state_dict']['a'] = torch.zeros(1 << 22)
    torch.save(content, tmp_path / 'a.pth')
    torch.save(content, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    for name in ('a.pth', 'old.pth'):
        assert peek_checkpoint(tmp_path / name)['meta'] == dict(iter=2)
    with pytest.raises(MissingPathError):
        peek_checkpoint(tmp_path / 'gone.pth')
