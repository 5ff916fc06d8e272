"""The console command: its help is quick, and its subcommands are found."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mmseg_isda.commands.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
HELP = """
import sys
from mmseg_isda.commands.cli import main
for words in (['--help'], ['train', '--help'], ['sweep', '--help'], ['config', 'list']):
    try:
        main(words)
    except SystemExit as error:
        assert error.code == 0
heavy = {'torch', 'mmengine', 'mmcv', 'mmseg', 'numpy'} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_imports_no_toolkit():
    """A newcomer who asks for help waited 11 seconds for MMSegmentation."""
    done = subprocess.run([sys.executable, '-c', HELP], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f'    {name}' in done.stdout for name in COMMANDS) and 'lambda_0' in done.stdout


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_is_there(name):
    module = import_module(COMMANDS[name][0])
    assert hasattr(module, 'run') or hasattr(module, 'main')


def test_no_toolkit_is_named_but_in_the_table_of_toolkits():
    """engine, checkpoints and commands serve all toolkits alike; what differs stands in toolkits.py."""
    package = ROOT / 'mmseg_isda'
    files = [path for room in ('engine', 'checkpoints', 'commands') for path in (package / room).rglob('*.py')]
    for path in files:
        for line in path.read_text(encoding='utf-8').splitlines():
            words = line.split()
            imported = words[1] if len(words) > 1 and words[0] in ('import', 'from') else ''
            assert imported.partition('.')[0] not in ('mmseg', 'mmpretrain', 'mmdet'), f'{path}: {line}'
            assert not imported.startswith(('..segmentation', '..classification', '..detection')), f'{path}: {line}'


def test_a_command_returns_its_status(capsys):
    assert main(['config', 'list', 'nothing-is-called-so']) == 0
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
