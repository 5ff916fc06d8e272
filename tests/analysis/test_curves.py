"""Curves and comparisons of finished runs, read from what MMEngine logs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_isda.analysis import compare, curves
from mmseg_isda.analysis.main import main
from mmseg_isda.analysis.runs import read_runs
from mmseg_isda.errors import MissingPathError, OptionError


def _run(folder: Path, accuracies: dict[int, float], *, name: str = 'plain', loss: dict | None = None) -> Path:
    """Write the work folder of a run, whose second start repeats the last epoch of the first."""
    steps = sorted(accuracies)
    for start, part in (('1', steps[:-1]), ('2', steps[-2:])):
        log = folder / start / 'vis_data'
        log.mkdir(parents=True)
        rows = [{'lr': 0.1, 'loss': 1.0, 'epoch': step, 'step': 9 * step} for step in part]
        shift = 7 if start == '1' else 0  # What came last holds.
        rows += [{'accuracy/top1': accuracies[step] + shift, 'time': 0.1, 'step': step} for step in part]
        (log / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)) + '\n{"accuracy/to')
        model = dict(head=dict(loss=loss or dict(type='CrossEntropyLoss')))
        Config(dict(default_scope='mmpretrain', model=model, train_cfg=dict(max_epochs=3))).dump(log / 'config.py')
    (folder / f'{name}.py').touch()
    return folder


def test_a_resumed_run_has_each_validation_once(tmp_path) -> None:
    """Guards rows of training read as validations, of which step counts iterations, and lines that were cut off."""
    (run,) = read_runs([_run(tmp_path / 'a', {1: 50.0, 2: 60.0, 3: 70.0})])
    assert run.curve('accuracy/top1') == {1: 43.0, 2: 40.0, 3: 30.0} and run.unit == 'epoch'
    with pytest.raises(OptionError, match=r"has no 'mIoU'; it has: accuracy/top1"):
        run.curve('mIoU')


def test_runs_of_one_config_are_one_curve(tmp_path) -> None:
    """The spread is that of a sample: divided by one less than the number of seeds."""
    for seed, last in enumerate((90.0, 92.0)):
        _run(tmp_path / 'plain' / f'seed_{seed}', {2: 80.0, 3: last})
    _run(tmp_path / 'isda', {2: 81.0, 3: 95.0}, name='isda')
    curve = curves.summarize(read_runs([tmp_path]), 'accuracy/top1')
    assert list(curve) == ['isda', 'plain'] and curve['plain']['runs'] == 2
    assert curve['plain']['steps'] == [2, 3] and curve['plain']['mean'] == [20.0, 9.0]
    assert curve['plain']['spread'] == pytest.approx([0, math.sqrt(2)]) and curve['isda']['spread'] == [0, 0]
    main(['curves', str(tmp_path), '--out', str(tmp_path / 'out'), '--begin', '3'])
    assert json.loads((tmp_path / 'out' / 'curves.json').read_text())['curves']['isda']['mean'] == [19.0, 5.0]


def test_settings_of_one_config_are_not_taken_for_seeds(tmp_path) -> None:
    """A sweep over `num_samples` copies one config into every folder."""
    for count in (1, 5):
        for seed in (0, 1):
            folder = tmp_path / f'num_samples={count}' / f'seed_{seed}'
            _run(folder, {2: 80.0, 3: 90.0}, loss=dict(type='ExplicitSDALoss', num_samples=count, seed=seed))
    curves_of = curves.summarize(read_runs([tmp_path]), 'accuracy/top1')
    assert {name: curve['runs'] for name, curve in curves_of.items()} == {
        'plain: num_samples=1': 2,
        'plain: num_samples=5': 2,
    }


def test_a_run_that_was_stopped_is_left_out(tmp_path, capsys: pytest.CaptureFixture) -> None:
    """It would shorten the curve of all seeds, and count with the errors of its middle."""
    for seed, accuracies in enumerate(({1: 50.0, 2: 80.0, 3: 90.0}, {1: 40.0, 2: 70.0})):
        _run(tmp_path / f'seed_{seed}', accuracies)
    (kept,) = read_runs([tmp_path])
    assert kept.path.name == 'seed_0' and 'seed_1 was validated up to epoch 2 of 3 only' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('loss', 'expected'),
    [
        (dict(type='CrossEntropyLoss'), (0, 'estimated')),
        (dict(type='ExplicitSDALoss'), (1, 'estimated')),
        (dict(type='ExplicitSDALoss', num_samples=5, learned=dict(num_classes=2)), (5, 'learned')),
        (dict(type='ExplicitSDALoss', num_samples=None), (math.inf, 'estimated')),
        (dict(type='mmseg_isda.ISDALoss'), (math.inf, 'estimated')),
        (dict(type='ISDALoss', lambda_0=0), (0, 'estimated')),
    ],
)
def test_samples_are_read_from_the_config(loss: dict, expected: tuple) -> None:
    assert compare.samples_of(Config(dict(model=dict(head=dict(loss=loss))))) == expected


def test_comparison_takes_the_mean_of_the_last_validations(tmp_path) -> None:
    for name, loss in (('plain', None), ('isda', dict(type='ISDALoss')), ('one', dict(type='ExplicitSDALoss'))):
        _run(tmp_path / name, {1: 50.0, 2: 70.0, 3: 80.0 + len(name)}, name=name, loss=loss)
    main(['compare', str(tmp_path), '--last', '2', '--out', str(tmp_path / 'out')])
    scores = json.loads((tmp_path / 'out' / 'compare.json').read_text())['scores']['estimated']
    assert {count: entry['mean'] for count, entry in scores.items()} == {'0': 22.5, '1': 23.5, '∞': 23.0}
    with pytest.raises(OptionError, match='compare needs runs of two settings'):
        main(['compare', str(tmp_path / 'one'), '--out', str(tmp_path / 'out')])


def test_folders_without_a_run_are_refused(tmp_path) -> None:
    with pytest.raises(MissingPathError, match='does not exist'):
        read_runs([tmp_path / 'nothing'])
    with pytest.raises(MissingPathError, match='holds no log of a run'):
        read_runs([tmp_path])
