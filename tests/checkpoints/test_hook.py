"""Checkpoints of a training: whole or absent, the old one kept until the new one is there, resumable after any kill."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend

from mmseg_isda.checkpoints.reading import read_checkpoint
from mmseg_isda.commands.resume import set_resume
from mmseg_isda.errors import CheckpointError, OptionError
from tests.checkpoints import runs


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in ('.pth', '.tmp'))


def _equal(one: Path, other: Path) -> None:
    ours, theirs = runs.saved(one), runs.saved(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


# --- what CheckpointHook offers goes on working ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(max_keep_ckpts=1), ['iter_4.pth']),
        (dict(max_keep_ckpts=3), ['iter_2.pth', 'iter_3.pth', 'iter_4.pth']),
        (dict(), [f'iter_{step}.pth' for step in (1, 2, 3, 4)]),
        (dict(max_keep_ckpts=1, filename_tmpl='at_{}.pth'), ['at_4.pth']),
        (dict(max_keep_ckpts=1, file_client_args=dict(backend='disk')), ['iter_4.pth']),
        (dict(max_keep_ckpts=1, backend_args=dict(backend='local')), ['iter_4.pth']),
    ],
)
def test_as_many_checkpoints_are_kept_as_are_asked_for(tmp_path, options, expected):
    """Guards removals that are put off for ever."""
    runs.build(runs.settings(tmp_path, iterations=4, **options)).train()
    assert _files(tmp_path) == expected


def test_epochs_best_and_published_checkpoints(tmp_path):
    """Guards a best checkpoint that is removed after the better one took its name, or that piles up."""
    cfg = runs.settings(tmp_path, max_keep_ckpts=1, save_best='acc', rule='greater', published_keys=['state_dict'])
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    cfg.default_hooks.checkpoint.by_epoch = True
    cfg.val_dataloader, cfg.val_evaluator, cfg.val_cfg = cfg.train_dataloader, dict(type='TinyMetric'), dict()
    runs.build(cfg).train()
    names = _files(tmp_path)
    assert 'epoch_3.pth' in names and 'best_acc_epoch_3.pth' in names
    assert len(names) == 4 and sum(name.count('-') for name in names) == 2, 'those two, published'
    for name in names:
        assert 'fc.weight' in read_checkpoint(tmp_path / name)['state_dict']


def test_averaged_weights(tmp_path):
    """Guards EMAHook, which swaps the weights of a checkpoint while it is loaded, before we look at them."""
    unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
    for folder, lengths in ((unbroken, [6]), (broken, [3, 6])):
        for length in lengths:
            cfg = runs.settings(folder, max_keep_ckpts=1)
            cfg.custom_hooks = [dict(type='EMAHook')]
            cfg.train_cfg.max_iters = length
            set_resume(cfg, 'auto')
            runs.build(cfg).train()
    _equal(unbroken / 'iter_6.pth', broken / 'iter_6.pth')
    ema, own = (read_checkpoint(broken / 'iter_6.pth')[name] for name in ('ema_state_dict', 'state_dict'))
    assert not torch.equal(ema['module.fc.weight'], own['fc.weight'])


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    """The host removes the old file first, and leaves half of the new one; max_keep_ckpts=1 then loses everything."""
    write = Path.write_bytes

    def full(path, content):
        if '.iter_3.pth' in path.name:
            write(path, content[:1000])
            raise OSError(28, 'No space left on device')
        return write(path, content)

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OptionError, match=r'iter_3\.pth cannot be written: No space left on device'):
        runs.build(runs.settings(tmp_path, max_keep_ckpts=1)).train()
    assert _files(tmp_path) == ['iter_2.pth'] and read_checkpoint(tmp_path / 'iter_2.pth')


def test_broken_statistics_stop_a_run_that_would_start_from_them(tmp_path):
    """NaN in the statistics makes every later loss NaN; without the mean, the rest is merged with zeros."""
    runs.build(runs.settings(tmp_path / 'first', iterations=1)).train()
    content = torch.load(tmp_path / 'first' / 'iter_1.pth', weights_only=True)
    content['state_dict'].pop('loss_cls.statistics.mean')
    torch.save(content, tmp_path / 'half.pth')
    for resume in (True, False):
        cfg = runs.settings(tmp_path / 'second')
        cfg.load_from, cfg.resume = str(tmp_path / 'half.pth'), resume
        with pytest.raises(CheckpointError, match=r'lacks loss_cls\.statistics\.mean'):
            runs.build(cfg).train()


def _train(folder: Path, keep: int) -> None:
    cfg = runs.settings(folder, iterations=12, max_keep_ckpts=keep)
    cfg.model.ballast = 1 << 20  # 4 MB
    set_resume(cfg, 'auto')
    runs.build(cfg).train()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _train_and_die(folder: Path, keep: int, step: int, stage: str) -> None:
    """Die while the checkpoint of a step is written: at half of its bytes, before or after its name, at the old one."""
    write, replace = Path.write_bytes, os.replace

    def write_bytes(path, content):
        if stage == 'half' and f'.iter_{step}.pth' in path.name:
            write(path, content[: len(content) // 2])
            _kill()
        return write(path, content)

    def move(source, target):
        if stage == 'written' and Path(target).name == f'iter_{step}.pth':
            _kill()
        replace(source, target)
        if stage == 'moved' and Path(target).name == f'iter_{step}.pth':
            (folder / 'last_checkpoint').write_text('')  # which the host writes in place
            _kill()

    Path.write_bytes, os.replace = write_bytes, move
    if stage == 'removing':
        LocalBackend.remove = lambda backend, path: _kill()
    _train(folder, keep)


@pytest.mark.slow
def test_32_of_32_killed_runs_resume_bit_for_bit(tmp_path):
    """The host loses 12 of 12 when it is killed while it writes with max_keep_ckpts=1."""
    chance = random.Random(0)
    begin = time.monotonic()
    assert runs.wait(runs.fork(lambda: _train(tmp_path / 'unbroken', 3))) == 0
    seconds = time.monotonic() - begin
    for number in range(20):
        folder, keep = tmp_path / f'random_{number}', (1, 3)[number % 2]
        pid = runs.fork(lambda folder=folder, keep=keep: _train(folder, keep))
        time.sleep(chance.uniform(0.05, 0.9) * seconds)
        os.kill(pid, signal.SIGKILL)
        assert runs.wait(pid) in (-signal.SIGKILL, 0)
        _resumes(tmp_path, folder, keep)
    for number, stage in enumerate(('half', 'written', 'moved', 'removing') * 3):
        folder, keep, step = tmp_path / f'{stage}_{number}', (1, 3)[number % 2], chance.randint(2, 11)
        step = max(step, keep + 1)
        die = lambda folder=folder, keep=keep, step=step, stage=stage: _train_and_die(folder, keep, step, stage)  # noqa: E731
        assert runs.wait(runs.fork(die)) == -signal.SIGKILL
        _resumes(tmp_path, folder, keep)


def _resumes(tmp_path: Path, folder: Path, keep: int) -> None:
    assert runs.wait(runs.fork(lambda: _train(folder, keep))) == 0
    _equal(tmp_path / 'unbroken' / 'iter_12.pth', folder / 'iter_12.pth')
