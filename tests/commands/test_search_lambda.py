"""tools/search_lambda.py: what it hands to the search, and what the user sees."""

import importlib.util
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_isda.commands.launch import run_command
from mmseg_isda.engine import search

TOOL = Path(__file__).parents[2] / 'tools' / 'search_lambda.py'


@pytest.fixture
def command(monkeypatch):
    """Runs the command in this process; returns what the search would have got."""
    spec = importlib.util.spec_from_file_location('search_lambda_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen = {}

    def instead(config, **options):
        seen.update(options, config=config)
        return search.SearchResult((), 'score', 0.5, 'the table', (Path('search.json'),))

    monkeypatch.setattr(search, 'search_lambda', instead)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
        return run_command(module.main), seen

    return call


def test_defaults_are_those_of_the_paper(command, capsys):
    status, seen = command('config.py', '--work-dir', 'runs')
    assert status == 0 and seen['lambdas'] == (0.1, 0.25, 0.5, 0.75, 1.0)
    assert seen['seeds'] == [0] and seen['metric'] is None and seen['change'] is None
    assert 'the table' in capsys.readouterr().out


def test_options_reach_the_search(command):
    values = ['--lambdas', '0', '2', '--seeds', '1', '2', '--metric', 'mIoU', '--last', '3']
    _, seen = command('config.py', '--work-dir', 'runs', *values, '--lower-is-better', '--cfg-options', 'a.b=1')
    expected = dict(lambdas=[0, 2], seeds=[1, 2], metric='mIoU', lower_is_better=True, last=3, options={'a.b': 1})
    assert {key: seen[key] for key in expected} == expected and seen['work_dir'] == 'runs'


def test_hold_out_changes_the_config(command):
    pytest.importorskip('mmpretrain')
    _, seen = command('config.py', '--work-dir', 'runs', '--hold-out', '30', '--hold-out-seed', '4')
    loader = dict(dataset=dict(type='CIFAR10', pipeline=[]))
    cfg = Config(dict(train_dataloader=loader, val_dataloader=loader))
    seen['change'](cfg)
    assert cfg.val_dataloader.dataset.num_val == 30 and cfg.val_dataloader.dataset.seed == 4


def test_a_mistake_is_one_line(monkeypatch, capsys):
    """Without a traceback, and with the exit status 2."""
    spec = importlib.util.spec_from_file_location('search_lambda_tool', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [str(TOOL), 'missing.py', '--work-dir', 'runs', '--lambdas', '-1'])
    assert run_command(module.main) == 2
    assert capsys.readouterr().err == 'error: lambda_0 must be a number, 0 or more, got -1.0\n'
