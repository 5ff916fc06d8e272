"""The demos of segmentation and classification: what they run, and that a pair differs in the loss alone."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from demo import classification, segmentation
from demo.compare import CONFIGS, make_parser, plan
from demo.report.records import config_differences, flatten
from demo.scenes import CLASSES

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


@pytest.mark.parametrize('comparison', DEMOS.values(), ids=DEMOS)
def test_test_images_are_no_training_or_validation_images(comparison):
    """Scores of images that were trained on, or chosen by."""
    cfg = load(comparison.configs[0])
    train, test = (cfg[f'{name}_dataloader'].dataset for name in ('train', 'test'))
    assert (train.get('part', 'chosen'), test.part) == ('chosen', 'rest')
    if train.dataset.get('split', '') == test.dataset.get(
        'split', ''
    ):  # of one set: the others of the very same choice
        same = train.dataset.get('data_prefix') == test.dataset.get('data_prefix')
        assert not same or (train.num_images, train.get('seed')) == (test.num_images, test.get('seed'))
    if comparison is segmentation.COMPARISON:
        assert 'train' not in str(test.dataset.data_prefix) and 'train' in str(train.dataset.data_prefix)
        val = cfg.val_dataloader.dataset
        assert (val.part if 'part' in val else 'chosen', val.num_images, val.seed) == (
            'chosen',
            test.num_images,
            test.seed,
        )


def test_the_network_has_the_classes_of_the_scenes():
    cityscapes = pytest.importorskip('mmseg.datasets').CityscapesDataset
    assert cityscapes.METAINFO['classes'] == CLASSES
    assert load(CONFIGS / 'scenes_pspnet.py').model.decode_head.num_classes == len(CLASSES)


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
def test_classification_demo_as_small_as_it_goes(tmp_path):
    """All commands for real: an option that one of them renames breaks the demo."""
    pytest.importorskip('mmpretrain')
    command = [sys.executable, '-m', 'demo.classification', '--seeds', '0', '1', '--work-dir', str(tmp_path)]
    command += ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    for shown in ('Predicting', 'report written'):
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        logs = ''.join((tmp_path / 'logs' / f'{number}.log').read_text() for number in (2, 3))
        assert shown in logs
        for run in tmp_path.glob('runs/*/seed_*/*.pth'):  # over, whatever becomes of the checkpoints
            run.write_bytes(b'half')
    sweep = json.loads((tmp_path / 'runs' / 'sweep.json').read_text())
    page = (tmp_path / 'report.html').read_text()
    assert f'{sweep["variants"][1]["mean"]:.2f}' in page and len(sweep['runs']) == 4
