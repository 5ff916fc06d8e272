"""The demo of semi-supervised learning: what it runs, and what it makes of the results."""

import json

import pytest

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

from demo import semi
from mmseg_isda.commands import runs
from mmseg_isda.commands.records import STARTED, write_json
from mmseg_isda.errors import OptionError


def record(run, errors):
    """Write the result of a run whose last validations have the given errors."""
    validations = {str(step): {semi.METRIC: 100 - error} for step, error in enumerate(errors, start=10)}
    run.folder.mkdir(parents=True)
    run.folder.joinpath(runs.RESULT).write_text(json.dumps(dict(validations=validations, test=None, seconds=1.0)))


@pytest.fixture
def planned(tmp_path):
    return semi.plan([0, 3], tmp_path)


def test_each_seed_draws_its_labels_for_all_methods_alike(planned):
    """Guards the pairing: the same labeled digits with and without ISDA, and others for another seed."""
    assert len(planned) == 2 * 5 * 2
    for (method, _, seed), run in planned.items():
        images = runs.configure(run).train_dataloader.dataset
        assert (images.dataset if method == 'labeled-only' else images).seed == seed
        assert f'--seed {seed}' in ' '.join(run.words)
    assert len({run.folder for run in planned.values()}) == len({run.mark for run in planned.values()}) == 20


def test_differences_are_paired_by_seed(planned, tmp_path):
    """Guards the sign, the mean over the last three validations, and the interval."""
    for (method, kind, seed), run in planned.items():
        base = 10.0 + seed + (method == 'vat')
        record(run, [50.0, base - 1, base, base + 1] if not kind else [50.0, *[base - 2 - (seed == 3)] * 3])
    assert semi.execute(planned, jobs=1) == []  # nothing is left to train
    rows = {row['method']: row for row in semi.summary(planned)}
    assert list(rows) == list(semi.METHODS.values())
    assert rows['VAT']['plain'] == dict(errors={0: 11.0, 3: 14.0}, mean=12.5, std=pytest.approx(4.5**0.5), runs=2)
    assert (rows['Pi-model']['difference']['mean'], rows['Pi-model']['difference']['pairs']) == (-2.5, 2)
    lines = semi.table(list(rows.values())).splitlines()
    assert lines[2].startswith('| labels alone | 11.50 ± 2.12 | 9.00 ± 1.41 | -2.50 | -8.85 to +3.85 | 2 |')
    semi.draw(list(rows.values()), tmp_path / 'semi.png')
    assert (tmp_path / 'semi.png').stat().st_size > 10_000


def test_a_folder_of_other_settings_is_refused(planned, tmp_path):
    """Guards against runs of another length in one table."""
    run = next(iter(planned.values()))
    record(run, [1.0, 1.0, 1.0])
    write_json(run.folder / STARTED, {'config': 'another'})
    with pytest.raises(OptionError, match='holds a run of another config or other options'):
        semi.plan([0], tmp_path)


@pytest.mark.slow
def test_trainings_run_side_by_side_and_failures_are_named(tmp_path):
    """Guards the forked trainings, their logs, and the runs that go on beside one that fails."""
    planned = semi.plan([0], tmp_path, ['train_cfg.max_epochs=1', 'train_cfg.val_begin=1'])
    chosen = {key: run for key, run in planned.items() if key[0] in ('mean-teacher', 'labeled-only')}
    assert semi.execute(chosen, jobs=2) == []
    assert all(run.folder.joinpath(runs.LOG).stat().st_size > 1000 for run in chosen.values())
    assert all(0 <= semi._error(run) <= 100 for run in chosen.values())
    failing = semi.plan([1], tmp_path, ['optim_wrapper.optimizer.type=NoOptimizer'])
    (message,) = semi.execute(dict([next(iter(failing.items()))]), jobs=1)
    assert 'NoOptimizer' in message and message.startswith('labeled-only, seed 1')
