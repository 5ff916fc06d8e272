"""What a training goes on or starts from: the newest sound checkpoint, never over one, and no two runs in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_isda.checkpoints.reading import check_resumable, read_checkpoint
from mmseg_isda.commands import resume as module
from mmseg_isda.commands.resume import (
    check_pretrained,
    find_newest,
    guard_files,
    lock_work_dir,
    saying_where_to_resume,
    set_resume,
)
from mmseg_isda.errors import (
    CheckpointError,
    ExistingPathError,
    InterruptionError,
    MissingPathError,
    OptionError,
)
from tests.checkpoints import runs
from tests.tiny import tiny_settings, write_config, write_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A work dir with iter_1.pth to iter_4.pth and last_checkpoint."""
    folder = tmp_path_factory.mktemp('trained') / 'work'
    runs.build(runs.settings(folder, iterations=4)).train()
    return folder


@pytest.fixture
def cfg(trained, tmp_path) -> Config:
    """A config whose work dir is a copy of :func:`trained`."""
    shutil.copytree(trained, tmp_path / 'work')
    return runs.settings(tmp_path / 'work')


def _flip(path: Path) -> None:
    """Changes a byte in the largest part of a checkpoint."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[content.index(entry.filename.encode(), entry.header_offset) + len(entry.filename) + 100] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


# --- the newest sound checkpoint -------------------------------------------------------------------------------------


@pytest.mark.parametrize('last', [None, '', 'iter_1.pth', 'gone/iter_9.pth', '\x00\xff', '.'])
def test_last_checkpoint_need_not_be_right(cfg, last):
    """The host starts at iteration 0 without that file, and replaces what is there; or gives up where it is wrong."""
    path = Path(cfg.work_dir, 'last_checkpoint')
    path.unlink() if last is None else path.write_text(last)
    notes = set_resume(cfg, 'auto')
    assert cfg.resume and Path(cfg.load_from).name == 'iter_4.pth'
    assert any('iter_4.pth, the newest sound checkpoint' in note for note in notes)


@pytest.mark.parametrize('damage', [_flip, _cut, lambda path: path.write_bytes(b''), lambda path: path.write_text('x')])
def test_damaged_checkpoints_are_named_and_left(cfg, damage):
    for step in (4, 3):
        damage(Path(cfg.work_dir, f'iter_{step}.pth'))
    before = {path.name: path.read_bytes() for path in Path(cfg.work_dir).glob('*.pth')}
    notes = set_resume(cfg, 'auto')
    assert Path(cfg.load_from).name == 'iter_2.pth'
    assert all(any(f'iter_{step}.pth is' in note for note in notes) for step in (3, 4))
    assert before == {path.name: path.read_bytes() for path in Path(cfg.work_dir).glob('*.pth')}


def test_newest_by_what_the_files_say(cfg):
    """Guards copied folders, whose times say nothing; best checkpoints, which lack the optimizer; weights alone."""
    folder = Path(cfg.work_dir)
    os.utime(folder / 'iter_4.pth', (0, 0))
    content = read_checkpoint(folder / 'iter_4.pth')
    content['meta']['iter'] = 9
    torch.save({key: value for key, value in content.items() if key != 'optimizer'}, folder / 'best_acc_iter_9.pth')
    torch.save(dict(state_dict=content['state_dict']), folder / 'published.pth')
    content['state_dict'].pop('loss_cls.statistics.mean')
    torch.save(content, folder / 'iter_8.pth')
    path, damaged = find_newest(cfg)
    assert path.name == 'iter_4.pth' and [path.name for path in damaged] == ['iter_8.pth']
    for other in folder.glob('iter_*.pth'):
        other.unlink()
    assert find_newest(cfg)[0].name == 'best_acc_iter_9.pth'


def test_checkpoints_in_another_folder(cfg, tmp_path):
    """Guards ``out_dir`` and ``filename_tmpl`` of CheckpointHook."""
    (tmp_path / 'out').mkdir()
    Path(cfg.work_dir).rename(tmp_path / 'out' / 'work')
    (tmp_path / 'out' / 'work' / 'iter_4.pth').rename(tmp_path / 'out' / 'work' / 'step_4.ckpt')
    cfg.default_hooks.checkpoint.update(out_dir=str(tmp_path / 'out'), filename_tmpl='step_{}.ckpt')
    assert find_newest(cfg)[0] == tmp_path / 'out' / 'work' / 'step_4.ckpt'


def test_checkpoints_in_an_object_storage(cfg):
    """Guards a run whose checkpoints no folder shows."""
    Path(cfg.work_dir, 'last_checkpoint').write_text('s3://bucket/work/iter_9.pth')
    set_resume(cfg, 'auto')
    assert cfg.resume and cfg.load_from == 's3://bucket/work/iter_9.pth'


def test_only_damaged_checkpoints(cfg):
    """Guards a start at iteration 0 that nobody asked for."""
    for path in Path(cfg.work_dir).glob('*.pth'):
        _flip(path)
    with pytest.raises(CheckpointError, match=r'no sound checkpoint to resume: .*iter_4\.pth is damaged.*--work-dir'):
        set_resume(cfg, 'auto')


def test_nothing_to_resume(tmp_path):
    cfg = runs.settings(tmp_path / 'new')
    (note,) = set_resume(cfg, 'auto')
    assert 'beginning' in note and not cfg.resume and not cfg.get('load_from')
    with pytest.raises(MissingPathError, match='--resume'):
        set_resume(cfg, str(tmp_path / 'gone.pth'))


@pytest.mark.parametrize('damaged', [(), (4,)])
def test_a_run_that_starts_over_replaces_nothing(cfg, damaged):
    for step in damaged:
        _flip(Path(cfg.work_dir, f'iter_{step}.pth'))
    with pytest.raises(ExistingPathError, match=r'\d checkpoint\(s\) of an earlier run.*--resume .*--work-dir '):
        set_resume(cfg, None)
    for path in Path(cfg.work_dir).glob('iter_*.pth'):
        path.write_bytes(b'PK')
    assert all('Damaged' in note for note in set_resume(cfg, None)) and not cfg.get('load_from')


def test_two_checkpoints_are_named(cfg, tmp_path):
    """Guards --resume beside load_from, of which the host takes one in silence."""
    first, start = str(Path(cfg.work_dir, 'iter_1.pth')), str(tmp_path / 'work' / 'iter_2.pth')
    cfg.load_from = start
    with pytest.raises(OptionError, match=r'--resume .*iter_1\.pth and load_from=.*iter_2\.pth name two'):
        set_resume(cfg, first, {'load_from': start})
    assert any('iter_2.pth of the config is not read' in note for note in set_resume(cfg, first))
    assert cfg.load_from == first
    cfg.load_from = start
    set_resume(cfg, 'auto')
    assert Path(cfg.load_from).name == 'iter_4.pth', 'a fine-tuning that goes on'
    shutil.move(start, tmp_path / 'start.pth')
    shutil.rmtree(cfg.work_dir)
    cfg.load_from = str(tmp_path / 'start.pth')
    set_resume(cfg, 'auto')
    assert cfg.load_from == str(tmp_path / 'start.pth') and not cfg.resume, 'and one that begins'


def test_what_cannot_be_read_is_refused_before_the_start(cfg, tmp_path):
    cfg.work_dir, cfg.load_from = str(tmp_path / 'new'), str(tmp_path / 'work' / 'iter_4.pth')
    assert set_resume(cfg, None) == [] and not cfg.get('resume')
    _flip(Path(cfg.load_from))
    with pytest.raises(CheckpointError, match='has changed since it was written'):
        set_resume(cfg, None)
    cfg.load_from = 's3://bucket/a.pth'
    assert set_resume(cfg, None) == []


def test_interruption_says_where_to_resume(cfg, tmp_path, monkeypatch):
    with pytest.raises(InterruptionError, match=r'--resume goes on from .*iter_4\.pth'), saying_where_to_resume(cfg):
        raise KeyboardInterrupt

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    # Every other interruption of a run with frequent checkpoints came here, and ended in pages of SyntaxError.
    for module_name in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):  # by the version of MMEngine
        monkeypatch.setattr(f'{module_name}.FormatCode', interrupted, raising=False)
    with pytest.raises(InterruptionError, match='--resume goes on'), saying_where_to_resume(cfg):
        Config({'a': 1}).pretty_text  # noqa: B018
    monkeypatch.undo()
    with pytest.raises(SyntaxError, match='a bug'), saying_where_to_resume(cfg):
        raise SyntaxError('a bug')
    cfg.work_dir = str(tmp_path / 'new')
    with pytest.raises(InterruptionError, match='no checkpoint was written'), saying_where_to_resume(cfg):
        raise KeyboardInterrupt


# --- files that a config names ---------------------------------------------------------------------------------------


def test_class_weights_are_read_before_the_host_does(tmp_path):
    """Guards .pkl and .yaml, whose code the host runs, in a loss anywhere."""
    np.save(tmp_path / 'a.npy', [1.0, 2.0])
    losses = [dict(type='A', class_weight=str(tmp_path / 'a.npy')), dict(type='B', class_weight=[1.0])]
    cfg = Config(dict(model=dict(decode_head=dict(loss_decode=losses))))
    guard_files(cfg)
    assert [loss['class_weight'] for loss in cfg.model.decode_head.loss_decode] == [[1.0, 2.0], [1.0]]
    cfg.model.decode_head.loss_decode[0].class_weight = str(tmp_path / 'a.pkl')
    (tmp_path / 'a.pkl').touch()
    with pytest.raises(OptionError, match='can run code'):
        guard_files(cfg)


@pytest.mark.parametrize(
    ('key', 'settings'),
    [
        ('model.backbone.init_cfg', dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='{}')))),
        ('model.init_cfg.0', dict(init_cfg=[dict(type='mmengine.PretrainedInit', checkpoint='{}')])),
        ('model.pretrained', dict(pretrained='{}')),
    ],
)
def test_pretrained_weights_are_read_before_the_start(key, settings, tmp_path):
    """Hours of queueing end at the first iteration otherwise."""

    def check(path):
        check_pretrained(Config.fromstring(f'model = {settings!r}'.replace('{}', str(path)), '.py'))

    with pytest.raises(MissingPathError, match=rf'csail\.pth.*convert_checkpoint.*--cfg-options {key}=None'):
        check(tmp_path / 'resnet101_csail.pth')
    check('open-mmlab://resnet101_v1c')
    torch.save({'a': torch.ones(99)}, tmp_path / 'a.pth')
    check(tmp_path / 'a.pth')
    _flip(tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='damaged'):
        check(tmp_path / 'a.pth')


# --- the folder ------------------------------------------------------------------------------------------------------


def _lock(folder: Path, **saving: str) -> None:
    lock_work_dir(Config(dict(work_dir=str(folder), default_hooks=dict(checkpoint=saving))))


def test_two_runs_do_not_share_a_folder(tmp_path, monkeypatch):
    """With rc 0 each replaced the other's checkpoints; a killed run must not keep its folder, even with workers."""
    ready, workers = os.pipe(), os.pipe()

    def hold() -> None:
        _lock(tmp_path / 'work')
        if os.fork() == 0:  # as data loaders do, whose processes outlive a killed parent for a while
            os.close(workers[1])
            os.read(workers[0], 1)
            os._exit(0)
        os.write(ready[1], b'x')
        time.sleep(60)

    monkeypatch.setattr(module, '_locks', {})
    pid = runs.fork(hold)
    os.read(ready[0], 1)
    with pytest.raises(OptionError, match=rf'another run trains in .*work \(process {pid} on .* since .*--work-dir'):
        _lock(tmp_path / 'work')
    _lock(tmp_path / 'other')
    os.kill(pid, signal.SIGKILL)
    runs.wait(pid)
    _lock(tmp_path / 'work')
    _lock(tmp_path / 'work' / '..' / 'work')
    os.write(workers[1], b'x')


def test_a_killed_run_leaves_no_half_files(tmp_path, monkeypatch):
    left = tmp_path / f'.iter_4.pth.{"0" * 16}.tmp'
    left.touch()
    monkeypatch.setattr(module, '_locks', {})
    _lock(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize('how', ['no module', 'no locks'])
def test_systems_without_locks(how, tmp_path, monkeypatch):
    """Windows has no fcntl, some network drives refuse."""
    monkeypatch.setattr(module, '_locks', {})
    if how == 'no module':
        monkeypatch.setattr(module, 'fcntl', None)
    else:
        monkeypatch.setattr(module.fcntl, 'lockf', lambda *args: (_ for _ in ()).throw(OSError(37, 'No locks')))
    _lock(tmp_path)
    assert not module._locks


def test_a_folder_that_cannot_be_written(tmp_path):
    """Guards the first checkpoint, after hours."""
    (tmp_path / 'file').touch()
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'work'):
        with pytest.raises(OptionError, match=f'folder of checkpoints: {folder} cannot be written'):
            _lock(folder)
    with pytest.raises(OptionError, match=r'file/work cannot be written'):
        _lock(tmp_path / 'work', out_dir=str(tmp_path / 'file'))


# --- as a user types it ----------------------------------------------------------------------------------------------


def _counts(path: Path) -> int:
    state = read_checkpoint(path)['state_dict']
    return sum(int(state[key].sum()) for key in state if key.endswith('.count'))


@pytest.mark.slow
def test_train_py_killed_twice_goes_on(tmp_path):
    """The whole road: ISDA on a segmentation network, killed by SIGKILL and by SIGINT, one checkpoint kept."""
    write_dataset(tmp_path / 'data')
    settings = tiny_settings(tmp_path / 'data', iterations=160)  # some seconds, in which a busy machine looks twice
    settings['model']['decode_head']['loss_decode'] = dict(type='ISDASegLoss')
    settings['default_hooks']['checkpoint'].update(interval=1, max_keep_ckpts=1)
    write_config(tmp_path / 'tiny.py', settings)
    env = os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
    words = [sys.executable, str(ROOT / 'tools' / 'train.py'), 'tiny.py', '--seed', '1', '--work-dir']

    def start(*more: str) -> subprocess.Popen:
        pipe = subprocess.PIPE
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a suite that a shell runs by `&` ignores it
        options = dict(cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed)
        return subprocess.Popen([*words, *more], **options)

    def newest() -> int:
        return max((int(path.stem[5:]) for path in (tmp_path / 'work').glob('iter_*.pth')), default=0)

    for kill in (signal.SIGKILL, signal.SIGINT):
        goal = newest() + 5  # not before this run has written one itself: until then it imports
        run = start('work', '--resume')
        while newest() < goal:
            assert run.poll() is None, run.communicate()[1][-3000:]
            time.sleep(0.05)
        run.send_signal(kill)
        _, error = run.communicate()
        assert run.returncode == (-kill if kill == signal.SIGKILL else 130), error[-3000:]
    counted = max(map(_counts, (tmp_path / 'work').glob('iter_*.pth')))
    (line,) = [line for line in error.splitlines() if line.startswith('error: ')]
    assert 'interrupted; --resume goes on from work/iter_' in line
    again = start('work')
    assert '--resume goes on' in again.communicate()[1] and again.returncode == 2
    last = start('work', '--resume')
    output = last.communicate()
    assert last.returncode == 0, output[1][-3000:]
    assert [path.name for path in (tmp_path / 'work').glob('*.pth')] == ['iter_160.pth']
    check_resumable(tmp_path / 'work' / 'iter_160.pth')
    assert _counts(tmp_path / 'work' / 'iter_160.pth') > counted
