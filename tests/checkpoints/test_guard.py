"""No code of a file is run, wherever a config names it, and what is harmless is still read."""

from __future__ import annotations

import http.server
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio import dump, load
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmseg_isda.checkpoints.guard import guard_process
from mmseg_isda.checkpoints.reading import read_checkpoint
from mmseg_isda.errors import CheckpointError, OptionError, UserError
from tests.checkpoints import runs


class _Code:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, 'w')


class _Attribute:
    """Pickled, it reaches for what stands behind a class that MMEngine's files may name."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture(autouse=True)
def guarded(tmp_path, monkeypatch):
    """A guarded process, in an empty folder, with PyTorch's cache in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')  # as users of MMEngine 0.10.7 are told to
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    guard_process()
    yield
    assert not (tmp_path / 'ran').exists(), 'the code of a file was run'


def _evil(path: Path, how: str = 'zip') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(
        state_dict={'fc.weight': torch.ones(2, 8)}, meta={}, message_hub={}, hidden=_Code(Path('ran').absolute())
    )
    if how == 'pickle':
        path.write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == 'zip')
    return path


# A folder may be called like a scheme; to the host, what it does not know is a local path.
PATHS = ('evil.pth', 'x:/evil.pth', 'x://evil.pth', 'abc://x/evil.pth', './http:/evil.pth')
PLACES = {
    'model.init_cfg': lambda cfg, path: cfg.model.update(init_cfg=dict(type='Pretrained', checkpoint=path)),
    'a list': lambda cfg, path: cfg.model.update(init_cfg=[dict(type='mmengine.Pretrained', checkpoint=path)]),
    'model.pretrained': lambda cfg, path: cfg.model.update(pretrained=path),
    'backbone.init_cfg': lambda cfg, path: cfg.model.update(
        backbone=dict(type='TinyBackbone', init_cfg=dict(type='Pretrained', checkpoint=path))
    ),
    'load_from': lambda cfg, path: setattr(cfg, 'load_from', path),
    'resume': lambda cfg, path: (setattr(cfg, 'load_from', path), setattr(cfg, 'resume', True)),
}


@pytest.mark.parametrize('place', PLACES)
def test_no_code_of_a_checkpoint_is_run(place, tmp_path):
    """The maintained MMEngine catches PyTorch's refusal and loads again without safety; 0.10.7 with a variable set."""
    for path in PATHS:
        _evil(Path(path))
        cfg = runs.settings(tmp_path / 'work')
        PLACES[place](cfg, path)
        with pytest.raises(CheckpointError, match='could run code'):
            runs.build(cfg).train()


def test_the_last_checkpoint_is_read_safely_too(tmp_path):
    """Guards the file that the host finds by itself, and its copy to publish."""
    _evil(tmp_path / 'work' / 'iter_1.pth')
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(tmp_path / 'work' / 'iter_1.pth'))
    cfg = runs.settings(tmp_path / 'work')
    cfg.resume = True
    with pytest.raises(CheckpointError, match='could run code'):
        runs.build(cfg).train()


@pytest.mark.parametrize('how', ['zip', 'pickle', 'legacy'])
def test_every_format_and_every_call_is_safe(how, tmp_path):
    """Guards formats of old, and code of the host that calls torch.load by itself, with weights_only=False at worst."""
    path = _evil(tmp_path / 'evil.pth', how)
    with pytest.raises(CheckpointError, match='could run code'):
        CheckpointLoader.load_checkpoint(str(path))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=False)


def test_attributes_behind_allowed_classes_are_refused(tmp_path):
    """The maintained MMEngine allows all of getattr, by which a file could reach the globals of any module."""
    torch.save({'state_dict': _Attribute()}, tmp_path / 'attribute.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'attribute.pth'))


def test_downloads_are_read_safely(tmp_path):
    """Guards URLs, for which the host asks PyTorch to load without safety."""
    _evil(tmp_path / 'served' / 'evil.pth')
    torch.save(dict(state_dict={'a': torch.ones(2)}), tmp_path / 'served' / 'good.pth')
    handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(tmp_path / 'served'))  # noqa: E731
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_address[1]}'
        assert torch.equal(CheckpointLoader.load_checkpoint(f'{address}/good.pth')['state_dict']['a'], torch.ones(2))
        for name in ('evil', 'missing'):
            with pytest.raises(CheckpointError, match=rf'{name}\.pth cannot be loaded'):
                CheckpointLoader.load_checkpoint(f'{address}/{name}.pth')
        server.shutdown()


@pytest.mark.parametrize(
    'name', ['pavi://a.pth', 'torchvision://no_such_net', 'mmcls://no_such_net', 'open-mmlab://no']
)
def test_what_cannot_be_fetched_is_named(name):
    with pytest.raises(CheckpointError, match=name):
        CheckpointLoader.load_checkpoint(name)


# --- files that are no checkpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['pkl', 'pickle', 'yaml', 'yml'])
def test_no_code_of_other_files_is_run(suffix, tmp_path):
    """Annotations and class weights: the host unpickles, and takes YAML that names functions to call."""
    path, mark = tmp_path / f'evil.{suffix}', tmp_path / 'ran'
    if suffix.startswith('p'):
        path.write_bytes(pickle.dumps([1.0, _Code(mark)]))
    else:
        path.write_text(f'!!python/object/apply:builtins.open [{str(mark)!r}, w]')
    with pytest.raises(OptionError, match='is not loaded'):
        load(str(path))


def test_harmless_files_are_read(tmp_path):
    """Guards annotations and configs that the host itself has dumped."""
    content = dict(ids=np.arange(3), shape=(2, 3), names=['a'], scale=np.float32(2), flags={1, 2})
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / 'a.pkl').write_bytes(pickle.dumps(content, protocol))
        found = load(str(tmp_path / 'a.pkl'))
        assert np.array_equal(found.pop('ids'), [0, 1, 2])
        assert found == {key: value for key, value in content.items() if key != 'ids'}
    dump(dict(shape=(2, 3)), str(tmp_path / 'b.yaml'))
    dumped = tmp_path / 'b.yaml'
    assert '!!python/tuple' in dumped.read_text() and load(str(dumped)) == dict(shape=(2, 3))


def test_host_writes_whole_files(tmp_path, monkeypatch):
    """Guards everything that the host writes by its storage backend, a published checkpoint for one."""
    (tmp_path / 'a.json').write_text('old')
    monkeypatch.setattr(os, 'replace', lambda *paths: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    with pytest.raises(UserError, match='No space left'):
        dump(dict(a=1), str(tmp_path / 'a.json'))
    assert [path.name for path in tmp_path.iterdir()] == ['a.json'] and (tmp_path / 'a.json').read_text() == 'old'


def test_good_checkpoints_of_training_are_read(tmp_path):
    """Guards an allow-list that is too short: what a run writes, the host must load."""
    runs.build(runs.settings(tmp_path / 'work', iterations=1)).train()
    loaded = CheckpointLoader.load_checkpoint('work/iter_1.pth', map_location='cpu')
    assert loaded.keys() == read_checkpoint('work/iter_1.pth').keys()
