"""How commands end: one line for what the user can mend, a traceback for a bug."""

from __future__ import annotations

import sys

import pytest
from mmengine.registry import HOOKS
from torch.utils.data import DataLoader, Dataset

from mmseg_isda.commands.cli import COMMANDS, main
from mmseg_isda.commands.outcome import run_command
from mmseg_isda.engine import strength_at
from mmseg_isda.errors import CheckpointError, DataError, InterruptionError, OptionError


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize('error', [OptionError('mend it so'), CheckpointError('mend it so'), DataError('mend it\nso')])
def test_mistakes_end_in_one_line(error, capsys):
    assert run_command(lambda: fail(error)) == 2
    assert capsys.readouterr().err == 'error: mend it so\n'


def test_what_a_command_returns_is_its_status():
    assert run_command(lambda: None) == 0 and run_command(lambda: 1) == 1


@pytest.mark.parametrize(('name', 'extra'), [('mmengine', 'onedl'), ('mmpretrain', 'onedl-classification')])
def test_a_toolkit_that_is_not_installed_is_one_line(name, extra, capsys, monkeypatch):
    """After `pip install .` alone most commands ended in a traceback."""
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(COMMANDS, 'missing', (name, 'of no use'))
    assert main(['missing']) == 2
    assert capsys.readouterr().err == f"error: {name} is not installed: pip install '.[{extra}]' (docs/install.md)\n"


def renamed(error: BaseException) -> Exception:
    """Return what a bare ``except`` of the host makes of an error."""
    other = SyntaxError('Failed to format the config file')
    other.__context__ = error
    return other


@pytest.mark.parametrize(
    'error', [KeyboardInterrupt(), InterruptionError('interrupted'), renamed(KeyboardInterrupt())], ids=repr
)
def test_an_interruption_is_one_line(error, capsys):
    """It printed 39, and pages where the host had made another error of it."""
    assert run_command(lambda: fail(error)) == 130
    assert capsys.readouterr().err == 'error: interrupted\n'


def test_bugs_keep_their_traceback(monkeypatch):
    """A line without it would hide where they are."""
    with pytest.raises(ValueError, match='a bug'):
        run_command(lambda: fail(ValueError('a bug')))
    with pytest.raises(SyntaxError):
        run_command(lambda: fail(renamed(ValueError('a bug'))))
    monkeypatch.setenv('MMSEG_ISDA_TRACEBACK', '1')
    with pytest.raises(OptionError):
        run_command(lambda: fail(OptionError('asked for')))


def strength(schedule: str) -> None:
    strength_at(1.0, schedule, iteration=0, max_iters=1, epoch=0, max_epochs=1)


def test_errors_that_this_package_raises_are_mistakes(capsys):
    """Core knows no UserError: its ValueErrors are told by where they were raised."""
    assert run_command(lambda: strength('epoch')) == 2
    assert capsys.readouterr().err.startswith("error: schedule='epoch' needs more than one epoch")


class Faulty(Dataset):
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        if self.error is None:
            strength('never')
        raise self.error


@pytest.mark.parametrize(('error', 'message'), [(DataError('a.png is no image'), 'a.png'), (None, 'schedule must be')])
def test_mistakes_in_a_data_loader_come_without_its_traceback(error, message, capsys):
    """PyTorch puts the traceback of the process into the message."""
    assert run_command(lambda: next(iter(DataLoader(Faulty(error), num_workers=1)))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if 'error' in line] == lines[-1:] and lines[-1].startswith(f'error: {message}')
    with pytest.raises(RuntimeError, match='a bug'):
        run_command(lambda: next(iter(DataLoader(Faulty(RuntimeError('a bug')), num_workers=1))))


def test_samples_that_cannot_be_stacked_are_a_mistake(capsys):
    """Guards unlabeled images with the data loader of a config of MMPretrain: their branches hold None."""
    assert run_command(lambda: next(iter(DataLoader([dict(sup=None)])))) == 2
    assert "set train_dataloader.collate_fn=dict(type='pseudo_collate')" in capsys.readouterr().err


def test_what_cannot_be_built_is_a_mistake(capsys):
    assert run_command(lambda: HOOKS.build(dict(type='LoggerHook', wrong=1))) == 2
    assert "unexpected keyword argument 'wrong'" in capsys.readouterr().err


def test_other_ranks_tell_only_what_they_alone_know(monkeypatch, capsys):
    """Two GPUs printed the same mistake twice; a broken image of one rank was not told at all."""
    monkeypatch.setenv('RANK', '3')
    run_command(lambda: fail(OptionError('the same for all')))
    assert capsys.readouterr().err == ''
    run_command(lambda: fail(DataError('a.png')))
    assert capsys.readouterr().err == 'error (rank 3): a.png\n'
