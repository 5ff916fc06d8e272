"""The demo: which commands it runs, that it repeats none and loses nothing, and what it says when one fails."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
# Stands in for every tool: notes its arguments, and writes what the tool of that name would.
STUB = """
import json, os, pathlib, sys
with open('calls.txt', 'a') as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + '\\n')
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
print('2026/01/01 10:00:00 - mmengine - INFO - Iter(train) [2/4]  lr: 1e-03  loss: 1.0  aux.loss_ce: 0.1')
if os.environ.get('FAIL') == pathlib.Path(sys.argv[0]).name:
    sys.exit('what went wrong')
if sys.argv[0].endswith('train.py'):
    folder = pathlib.Path(option('--work-dir'))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'iter_4.pth').touch()
elif sys.argv[0].endswith('test.py'):
    pathlib.Path(option('--json')).write_text('{}')
elif sys.argv[0].endswith('report.py'):
    pathlib.Path(option('--out')).write_text('<html>')
"""


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """tools/demo.py in an empty folder, with stubs for the other tools; called with a small demo's arguments."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location('demo', REPOSITORY / 'tools' / 'demo.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'demo', module)
    spec.loader.exec_module(module)
    tools = tmp_path / 'tools'
    tools.mkdir()
    for name in ('make_street_scenes.py', 'train.py', 'test.py', 'report.py'):
        (tools / name).write_text(STUB)
    monkeypatch.setattr(module, 'TOOLS', tools)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['demo.py', '--iters', '4', *arguments])
        return module.main()

    run.module = module
    return run


def calls():
    path = Path('calls.txt')
    made = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return made


def test_runs_every_step_once(demo, capsys):
    """Both networks are trained and scored, from the same seed, on the same data and for as long."""
    assert demo('--seed', '7') == 0
    made = calls()
    assert [call[0] for call in made] == ['make_street_scenes.py', *['train.py'] * 2, *['test.py'] * 2, 'report.py']
    first, second = made[1:3]
    differing = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert len(differing) == 2, 'config and work dir, and nothing else'
    assert first[first.index('--seed') + 1] == '7'
    shown = capsys.readouterr().out
    assert shown.count('% done') == 6 + 2  # each step, and each training's line of progress
    assert '    Iter(train) [2/4]  loss: 1.0   (' in shown
    assert 'mmengine - INFO' not in shown
    assert 'work_dirs/demo/report.html' in shown


def test_changed_settings_reach_the_training(demo):
    """Without a change the commands stay short, so the configs must have the demo's own defaults."""
    assert demo('--data-root', 'elsewhere') == 0
    made = calls()
    assert made[0][1] == 'elsewhere'
    assert {'train_cfg.max_iters=4', 'param_scheduler.0.end=4'} <= set(made[1])
    roots = {f'{loader}_dataloader.dataset.data_root=elsewhere' for loader in ('train', 'val', 'test')}
    assert roots <= set(made[1]) & set(made[2])
    for path in demo.module.RUNS.values():
        cfg = Config.fromfile(REPOSITORY / 'configs' / 'street_scenes' / path.name)
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == demo.module.ITERATIONS
        assert {cfg[f'{part}_dataloader'].dataset.data_root for part in ('train', 'val', 'test')} == {
            str(demo.module.DATA_ROOT)
        }


def test_finished_steps_are_not_repeated(demo, capsys):
    """Minutes of training done again because the report was deleted."""
    assert demo() == 0
    calls()
    Path('work_dirs/demo/report.html').unlink()
    assert demo() == 0
    assert [call[0] for call in calls()] == ['make_street_scenes.py', 'report.py']
    assert capsys.readouterr().out.count('done before') == 4


def test_stopped_training_is_resumed(demo):
    """A training that was stopped must go on from its checkpoint, one that was not started must not look for one."""
    folder = Path('work_dirs/demo/isda')
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text('iter_2.pth')
    assert demo() == 0
    assert ['--resume' in call for call in calls() if call[0] == 'train.py'] == [False, True]


def test_other_settings_are_refused(demo, capsys):
    """Results of 4 iterations reported as those of 8."""
    assert demo() == 0
    calls()
    assert demo('--seed', '1') == 2
    assert calls() == []
    error = capsys.readouterr().err
    assert 'seed 0, now 1' in error
    assert '--work-dir' in error
    assert demo('--seed', '1', '--work-dir', 'work_dirs/other') == 0


def test_failure_is_shown_and_kept(demo, capsys, monkeypatch):
    """A failing step stops the demo with its last words, its log and a status; the next call goes on there."""
    monkeypatch.setenv('FAIL', 'test.py')
    assert demo() == 1
    assert [call[0] for call in calls()] == ['make_street_scenes.py', 'train.py', 'train.py', 'test.py']
    error = capsys.readouterr().err
    assert 'what went wrong' in error
    assert 'work_dirs/demo/logs/4.log' in error
    assert 'what went wrong' in Path('work_dirs/demo/logs/4.log').read_text()
    monkeypatch.delenv('FAIL')
    assert demo() == 0
    assert [call[0] for call in calls()] == ['make_street_scenes.py', 'test.py', 'test.py', 'report.py']


def test_command_without_its_output_is_a_failure(demo, capsys):
    """A tool that ends well and leaves nothing would be repeated for ever, or be missed by a later step."""
    (demo.module.TOOLS / 'test.py').write_text('')
    assert demo() == 1
    assert 'score cross entropy' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--iters', '--train', '--val', '--jobs'])
def test_wrong_numbers_are_refused(demo, option, capsys):
    with pytest.raises(SystemExit) as error:
        demo(option, '0')
    assert error.value.code == 2
    assert f'{option} must be at least 1, got 0' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('index', 'line', 'expected'),
    [
        (0, 'street scenes: 30/300 made, 15 s left', 0.1),
        (1, '2026/11/22 16:00:00 - mmengine - INFO - Iter(train) [150/600]  loss: 1/2', 0.25),
        (3, '11/22 16:00:00 - mmengine - INFO - Iter(test) [ 6/60]', 0.1),
        (1, '11/22 16:00:00 - mmengine - INFO - Iter(val) [60/60]    mIoU: 1.0', None),
    ],
)
def test_progress_is_read_from_the_right_figures(demo, monkeypatch, capsys, index, line, expected):
    """The date 11/22 in a log line was once taken for half of the work."""
    monkeypatch.setattr(sys, 'argv', ['demo.py'])
    step = demo.module.plan(demo.module.parse_args())[index]
    seen = []
    demo.module.follow([line + '\n'], step, io.StringIO(), lambda fraction: seen.append(fraction) or '')
    assert seen == ([] if expected is None else [pytest.approx(expected)])
    assert line.split('INFO - ')[-1] in capsys.readouterr().out


def test_time_left_falls_to_zero(demo, monkeypatch):
    """The time left once began to rise, and counted steps that were done before."""
    now = [100.0]
    monkeypatch.setattr(demo.module.time, 'monotonic', lambda: now[0])
    clock = demo.module.Clock([0.0, 60.0, 40.0])
    texts = []
    for step, fraction, passed in ((0, 0.0, 0), (1, 0.5, 60), (1, 1.0, 60), (2, 1.0, 80)):
        now[0] += passed
        texts.append(clock.text(step, fraction))
    assert texts[0] == '  0 % done, 1:40 left'
    assert texts[1] == ' 30 % done, 1:45 left'  # half as fast as usual, of which 30 s are taken on trust
    assert texts[3] == '100 % done, 0:00 left'


@pytest.mark.slow
def test_the_real_commands(tmp_path):
    """The whole demo with the real tools, as small as it goes: an option renamed in one of them breaks it."""
    command = [sys.executable, str(REPOSITORY / 'tools' / 'demo.py'), '--iters', '2', '--train', '8', '--val', '2']
    path = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    page = (tmp_path / 'work_dirs' / 'demo' / 'report.html').read_text()
    folder = tmp_path / 'work_dirs' / 'demo'
    scores = [json.loads((folder / run / 'scores.json').read_text()) for run in ('cross_entropy', 'isda')]
    for score in scores:
        for protocol in ('single_scale', 'multi_scale', 'multi_scale_flip'):
            assert f'{score["protocols"][protocol]["mIoU"]:.2f}' in page
    assert page.count('<svg') == 4, 'loss, mIoU, lambda and augmentation size'
    assert page.count('<img') == 10
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert again.stdout.count('done before') == 5
