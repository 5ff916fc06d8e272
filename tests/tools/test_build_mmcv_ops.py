"""The builder of MMCV's operators: it builds only what is missing, tells how far it is, and keeps what went wrong."""

import importlib.util
import io
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'build_mmcv_ops.py'


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool with a stand-in for pip that notes its arguments and has built after ``tool.has`` calls."""
    spec = importlib.util.spec_from_file_location('build_mmcv_ops', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv('PIP_FIND_LINKS', raising=False)
    module.calls, module.has, module.status = [], 0, 0

    def pip(arguments, log):
        module.calls.append(arguments)
        log.write_text('ninja: what went wrong\n')
        return module.status

    monkeypatch.setattr(module, 'pip', pip)
    monkeypatch.setattr(module, 'has_operators', lambda: len(module.calls) >= module.has)
    versions = tmp_path / 'versions.txt'
    versions.write_text('onedl-mmcv==2.3.6\n')
    log = tmp_path / 'build.log'

    def run(package='onedl-mmcv'):
        monkeypatch.setattr(sys, 'argv', ['tool', package, '--constraint', str(versions), '--log', str(log)])
        return module.main()

    module.run = run
    return module


def test_nothing_is_done_where_the_operators_are(tool, capsys):
    """Thirteen minutes for nothing, at every make."""
    assert tool.run() == 0 and tool.calls == [] and capsys.readouterr().out == ''


def test_they_are_built_from_source_and_checked(tool, capsys):
    """Guards the options without which pip makes an MMCV without operators and says nothing."""
    tool.has = 2
    assert tool.run() == 0
    needs, build = tool.calls
    assert 'ninja' in needs
    assert {'--no-build-isolation', '--no-binary', '--no-cache-dir'} <= set(build) and build[-1] == 'onedl-mmcv'
    shown = capsys.readouterr().out
    assert 'are missing and are built now, once: about' in shown and 'minutes' in shown


def test_a_wheel_is_taken_where_there_is_one(tool, tmp_path, monkeypatch):
    """Guards a wheel of another version or another Python, which pip would pass over for the slow way."""
    folder = tmp_path / 'wheels'
    folder.mkdir()
    monkeypatch.setenv('PIP_FIND_LINKS', f'{tmp_path / "nowhere"} {folder}')
    python = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    for name in (f'onedl_mmcv-2.2.0-{python}-{python}-linux.whl', 'onedl_mmcv-2.3.6-cp27-cp27-linux.whl'):
        (folder / name).touch()
    tool.has = 2
    assert tool.run() == 0 and '--only-binary' not in tool.calls[0] and len(tool.calls) == 2
    (folder / f'onedl_mmcv-2.3.6-{python}-{python}-linux_x86_64.whl').touch()
    tool.calls.clear()
    tool.has = 1
    assert tool.run() == 0 and len(tool.calls) == 1 and '--only-binary' in tool.calls[0]


def test_a_failure_is_told_with_the_end_of_the_log(tool, capsys):
    """Guards an MMCV that pip calls installed and that has no operators."""
    for status in (1, 0):
        tool.calls.clear()
        tool.has, tool.status = 9, status
        assert tool.run() == 1
        error = capsys.readouterr().err
        assert 'could not be built' in error and 'what went wrong' in error and 'build.log' in error


def test_progress_is_shown_now_and_then(tool, capsys, monkeypatch):
    lines = ['Running command\n', *(f'[{count}/4] c++ -c {count}.cpp\n' for count in range(1, 5)), '  [3/x] no count\n']
    clock = iter([0.0, 0.0, 60.0, 70.0, 180.0, 190.0, 200.0])
    monkeypatch.setattr(tool.time, 'monotonic', lambda: next(clock))
    log = io.StringIO()
    tool.follow(lines, log)
    assert log.getvalue() == ''.join(lines), 'the log has everything'
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        '    1 of 4 files compiled, about 3 minutes left',
        '    3 of 4 files compiled, about 1 minutes left',
    ]
