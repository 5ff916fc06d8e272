"""The detection demo: which commands it runs, that it repeats none, and that its configs and its numbers agree."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tests.demo.test_demo import calls

# The demo's configs build on theirs.
pytest.importorskip('mmpretrain')
pytest.importorskip('mmdet')

REPOSITORY = Path(__file__).resolve().parents[2]
# Stands in for every tool: notes its arguments, and writes what the tool of that name would.
STUB = """
import json, os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
with open('calls.txt', 'a') as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + '\\n')
def option(name):
    return pathlib.Path(sys.argv[sys.argv.index(name) + 1])
def write(path, text=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
if name == 'train.py':
    number = 6 if 'resnet18' in pathlib.Path(sys.argv[1]).name else 4
    values = 'lr: 1e-3  grad_norm: 3.0  loss: 1.5  loss_cls: 1.0'
    print(f'11/22 10:00:00 - mmengine - INFO - Iter(train) [2/{number}]  {values}')
    if os.environ.get('FAIL') == str(number):
        sys.exit('what went wrong')
    write(option('--work-dir') / f'iter_{number}.pth')
elif name == 'convert_checkpoint.py':
    write(pathlib.Path(sys.argv[2]))
elif name == 'test.py':
    write(option('--json'), json.dumps({'metrics': {'coco/bbox_mAP': 0.5, 'coco/segm_mAP': 0.25}}))
elif name == 'show_detections.py':
    write(option('--out'))
"""
ORDER = ['make_tiny_coco.py', 'train.py', 'convert_checkpoint.py', 'train.py', 'test.py', 'show_detections.py']


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """tools/demo_detection.py in an empty folder, with stubs for the other tools; called with a small demo's arguments.

    It imports ``demo``, as the script does from its own folder.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(REPOSITORY / 'tools'))
    for name in ('demo', 'demo_detection'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module('demo_detection')
    (tmp_path / 'tools').mkdir()
    for name in set(ORDER):
        (tmp_path / 'tools' / name).write_text(STUB)
    monkeypatch.setattr(module.demo, 'TOOLS', tmp_path / 'tools')

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['demo_detection.py', '--pretraining-iters', '6', '--iters', '4', *arguments])
        return module.main()

    run.module = module
    yield run
    for name in ('demo', 'demo_detection'):
        sys.modules.pop(name, None)


def test_each_step_takes_up_what_the_one_before_left(demo, capsys):
    """Guards the chain: the file that is converted is that of the pretraining, and the detector starts from it."""
    assert demo('--seed', '7') == 0
    made = calls()
    assert [call[0] for call in made] == ORDER
    _, first, convert, second, score, paint = made
    assert convert[1] == f'{first[first.index("--work-dir") + 1]}/iter_6.pth' and convert[-2:] == ['--target', 'mmdet']
    detector = Config.fromfile(second[1])
    assert detector.model.backbone.init_cfg.checkpoint == convert[2], 'as the config has it'
    work_dir = second[second.index('--work-dir') + 1]
    assert score[1:3] == paint[1:3] == [f'{work_dir}/{Path(second[1]).name}', f'{work_dir}/iter_4.pth']
    assert first[first.index('--seed') + 1] == second[second.index('--seed') + 1] == '7'
    shown = capsys.readouterr().out
    assert '    Iter(train) [2/4]  loss: 1.5   (' in shown, 'the rest of the line is for the log'
    assert 'boxes 50.0, masks 25.0' in shown and 'detections.jpg' in shown


def test_changed_places_reach_every_command(demo):
    """Guards a demo in another folder, which must not read the usual one's data or weights."""
    assert demo('--data-root', 'elsewhere', '--work-dir', 'work') == 0
    data, first, convert, second, *_ = calls()
    assert data[1] == 'elsewhere' and convert[1:3] == ['work/pretraining/iter_6.pth', f'work/{demo.module.BACKBONE}']
    roots = {f'{part}_dataloader.dataset.data_root=elsewhere' for part in ('train', 'val', 'test')}
    assert roots <= set(first) & set(second)
    assert f'model.backbone.init_cfg.checkpoint=work/{demo.module.BACKBONE}' in second
    assert {f'{part}_evaluator.ann_file=elsewhere/annotations/instances_val.json' for part in ('val', 'test')} <= set(
        second
    )
    assert {'train_cfg.max_iters=4', 'param_scheduler.1.end=5'} <= set(second)


def test_the_configs_have_the_demos_defaults(demo):
    """Without a change the commands stay short, so the configs must have the demo's own defaults."""
    module = demo.module
    for path, iterations in (
        (module.PRETRAINING, module.PRETRAINING_ITERATIONS),
        (module.DETECTOR, module.ITERATIONS),
    ):
        cfg = Config.fromfile(REPOSITORY / 'configs' / 'tiny_coco' / path.name, import_custom_modules=False)
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[1].end == iterations
        assert iterations % cfg.default_hooks.checkpoint.interval == 0 == iterations % cfg.train_cfg.val_interval
        roots = {cfg[f'{part}_dataloader'].dataset.data_root for part in ('train', 'val', 'test')}
        assert {Path(root) for root in roots} == {module.DATA_ROOT}
    assert cfg.model.backbone.init_cfg.checkpoint == str(module.WORK_DIR / module.BACKBONE)


def test_finished_steps_are_not_repeated_and_stopped_ones_resumed(demo, capsys, monkeypatch):
    """Minutes of pretraining done again because the detector's training failed."""
    monkeypatch.setenv('FAIL', '4')
    assert demo() == 1
    assert [call[0] for call in calls()] == ORDER[:4]
    error = capsys.readouterr().err
    assert 'what went wrong' in error and 'work_dirs/demo_detection/logs/4.log' in error
    monkeypatch.delenv('FAIL')
    folder = Path('work_dirs/demo_detection/detector')
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text('iter_2.pth')
    assert demo() == 0
    made = calls()
    assert [call[0] for call in made] == ['make_tiny_coco.py', *ORDER[3:]]
    assert '--resume' in made[1]


def test_other_settings_are_refused(demo, capsys):
    """Results of 4 iterations reported as those of 8."""
    assert demo() == 0
    calls()
    assert demo('--seed', '1') == 2
    assert calls() == [] and 'seed 0, now 1' in capsys.readouterr().err
    assert json.loads(Path('work_dirs/demo_detection/demo.json').read_text())['seed'] == 0


@pytest.mark.slow
def test_the_real_commands(tmp_path):
    """Guards what stubs cannot: the whole way, from nothing to a picture, with the real tools in few iterations."""
    tool = REPOSITORY / 'tools' / 'demo_detection.py'
    options = ['--iters', '6', '--pretraining-iters', '6', '--train', '8', '--val', '4', '--crops', '48']
    done = subprocess.run([sys.executable, tool, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'AP on the validation pictures: boxes ' in done.stdout and 'missing: 0' in done.stdout
    work_dir = tmp_path / 'work_dirs' / 'demo_detection'
    assert (work_dir / 'detections.jpg').stat().st_size > 10_000
    scores = json.loads((work_dir / 'scores.json').read_text())
    assert scores['images'] == 4 and 0 <= scores['metrics']['coco/bbox_mAP'] <= 1
