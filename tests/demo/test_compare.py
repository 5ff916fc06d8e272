"""The demos of segmentation and classification: what they run, and that a pair differs in the loss alone."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from demo import classification, segmentation
from demo.compare import make_parser, plan
from demo.report.records import config_differences, flatten
from demo.sheets import SHEETS

DEMOS = {'segmentation': segmentation.COMPARISON, 'classification': classification.COMPARISON}


def load(path):
    from mmseg_isda.commands.launch import load_config

    return load_config(path)


@pytest.mark.parametrize('comparison', DEMOS.values(), ids=DEMOS)
def test_a_pair_of_configs_differs_in_the_loss_alone(comparison):
    """A twin with another schedule or other images would be compared with cross entropy as if the loss did it."""
    if comparison is classification.COMPARISON:
        pytest.importorskip('mmpretrain')
    settings = [flatten(load(path).to_dict()) for path in comparison.configs]
    differing = [path for path, _ in config_differences(settings) if not path.startswith('loss.')]
    assert differing and all('.loss' in path for path in differing), differing


@pytest.mark.parametrize('comparison', DEMOS.values(), ids=DEMOS)
def test_the_sweep_sees_that_the_test_images_are_kept_back(comparison):
    """Wrappers choose different parts of one set; the sweep once took the set itself for both."""
    from mmseg_isda.commands.sweep import _without_pipelines

    cfg = load(comparison.configs[0])
    assert _without_pipelines(cfg.val_dataloader.dataset) != _without_pipelines(cfg.test_dataloader.dataset)
    assert _without_pipelines([{'pipeline': 1, 'a': 2}]) == _without_pipelines(({'pipeline': 3, 'a': 2},))


def test_test_images_are_no_training_or_validation_images():
    """Scores of images that were trained on, or chosen by."""
    cfg = load(segmentation.COMPARISON.configs[0])
    train, val, test = (cfg[f'{name}_dataloader'].dataset for name in ('train', 'val', 'test'))
    folders = [dataset.data_prefix.img_path for dataset in (train.dataset, val, test)]
    assert folders == ['images/train', 'images/val', 'images/test'] and list(SHEETS) == ['train', 'val', 'test']
    cfg = load(classification.COMPARISON.configs[0])
    train, val, test = (cfg[f'{name}_dataloader'].dataset for name in ('train', 'val', 'test'))
    assert (train.part, test.part, train.num_images) == ('chosen', 'rest', test.num_images)
    assert train.dataset == test.dataset and (train.dataset.part, val.part) == ('rest', 'chosen')
    assert (train.dataset.num_images, train.dataset.seed) == (val.num_images, val.seed)


def test_plan(tmp_path):
    """Training is left to the sweep, which pairs and resumes; every later step reads the files of the one before."""
    words = ['--work-dir', str(tmp_path), '--seeds', '3', '5', '--cfg-options', 'train_cfg.max_epochs=7']
    args = make_parser('d', work_dir='w', seeds=4).parse_args(words)
    train, predict, report = plan(args, classification.COMPARISON, ['a.b=1'])
    sweep = str(tmp_path / 'runs' / 'sweep.json')
    commands = [list(map(str, step.command)) for step in (train, predict, report)]
    assert commands[0][1:3] == ['mmseg_isda.commands', 'sweep']
    assert commands[0][-3:] == ['--cfg-options', 'a.b=1', 'train_cfg.max_epochs=7']
    assert commands[0][5:10] == ['--seeds', '3', '5', '--jobs', '2'] and '--test' in commands[0]
    assert sweep in commands[1] and sweep in commands[2]
    assert str(tmp_path / 'predictions') in commands[1] and str(tmp_path / 'predictions') in commands[2]
    assert train.output is predict.output is report.output is None, 'they find out by themselves what is done'
    assert train.title == 'Train 4 networks' and train.progress() == 0.0


def test_progress_of_all_runs(tmp_path):
    """Epochs of the config, or those that the command line asks for."""
    args = Namespace(work_dir=tmp_path, seeds=[0, 1], jobs=1, cfg_options=['train_cfg.max_epochs=10'])
    progress = plan(args, classification.COMPARISON)[0].progress
    for config, text in zip(classification.COMPARISON.configs, ('{"epoch": 5}', '{"epoch": 10}'), strict=True):
        logs = tmp_path / 'runs' / config.stem / 'seed_0' / '2026' / 'vis_data'
        logs.mkdir(parents=True)
        (logs / 'scalars.json').write_text(text)
    assert progress() == pytest.approx(1.5 / 4)


def test_the_package_does_not_import_the_demo():
    """The wheel has the package and not the demo."""
    package = Path(__file__).parents[2] / 'mmseg_isda'
    lines = [line for path in package.rglob('*.py') for line in path.read_text(encoding='utf-8').splitlines()]
    assert not [line for line in lines if line.lstrip().startswith(('import demo', 'from demo'))]


@pytest.mark.slow
@pytest.mark.parametrize('name', DEMOS)
def test_a_demo_as_small_as_it_goes(tmp_path, name):
    """All commands for real: an option that one of them renames breaks the demo."""
    unit = 'max_epochs' if name == 'classification' else 'max_iters'
    if name == 'classification':
        pytest.importorskip('mmpretrain')
    command = [sys.executable, '-m', f'demo.{name}', '--seeds', '0', '1', '--work-dir', str(tmp_path)]
    command += [] if name == 'classification' else ['--data-root', str(tmp_path / 'data')]
    command += ['--cfg-options', f'train_cfg.{unit}=1', 'train_cfg.val_interval=1']
    command += [] if name == 'classification' else ['default_hooks.checkpoint.interval=1']
    for shown in ('Predicting', 'report written'):
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        logs = ''.join(log.read_text() for log in (tmp_path / 'logs').glob('*.log'))
        assert shown in logs
        for run in tmp_path.glob('runs/*/seed_*/*.pth'):  # over, whatever becomes of the checkpoints
            run.write_bytes(b'half')
    sweep = json.loads((tmp_path / 'runs' / 'sweep.json').read_text())
    page = (tmp_path / 'report.html').read_text()
    assert f'{sweep["variants"][1]["mean"]:.2f}' in page and len(sweep['runs']) == 4
