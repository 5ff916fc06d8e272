"""The advice on lambda_0: shift, margin and difference of each setting, from what runs have left."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('scipy')
pytest.importorskip('mmengine')

from benchmarks.advice import draw, read_task, rows


@pytest.fixture
def few(tmp_path):
    def runs(*tests, shift=2.0):
        return {str(seed): dict(test=test, train=100.0, shift=shift, margin=4.0) for seed, test in enumerate(tests)}

    settings = {
        'cross entropy': runs(90.0, 91.0, shift=0.0),
        'lambda_0=2.5': runs(93.0, 93.0, shift=6.0),
        'lambda_0=0.5': runs(91.0, 92.0),
        'lambda_0=0.5 smoothing=0.1': runs(99.0, 99.0),
        'smoothing=0.1': runs(99.0, 99.0),
    }
    path = tmp_path / 'digits.json'
    other = {'report 5 lambda_0=0.5': runs(1.0, 2.0)}
    path.write_text(json.dumps({f'report 10 {name}': found for name, found in settings.items()} | other))
    return path


def test_settings_of_isda_alone_by_strength(few):
    """Guards against rivals, combinations or another number of labels among the points."""
    title, points = read_task(f'digits={few}#report 10')
    assert title == 'digits'
    assert [point.name for point in points] == ['lambda_0=0.5', 'lambda_0=2.5']
    assert [(point.shift, point.margin, point.difference.mean) for point in points] == [(2, 4, 1), (6, 4, 2.5)]


def test_a_sweep_tells_the_end_of_the_decode_head(tmp_path):
    """Guards against the auxiliary head, the first iterations, or validations in the means."""
    folder = tmp_path / 'runs'
    (folder / 'time' / 'vis_data').mkdir(parents=True)
    lines = [
        {'step': index, 'loss': 1.0, 'auxiliary_head.isda_shift': 9.0, 'decode_head.isda_shift': shift,
         'decode_head.isda_margin': 4.0, 'decode.acc_seg': 80.0}
        for index, shift in enumerate((100.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    ]  # fmt: skip
    text = '\n'.join(json.dumps(line) for line in [*lines, {'mIoU': 40.0, 'step': 6}])
    (folder / 'time' / 'vis_data' / 'scalars.json').write_text(text)
    (folder / 'config.py').write_text("model = dict(loss_decode=dict(type='ISDASegLoss'))")
    variants = [
        dict(name='plain', difference=None),
        dict(name='isda', difference=dict(mean=0.5, std=None, low=None, high=None, pairs=1)),
    ]
    (tmp_path / 'sweep.json').write_text(
        json.dumps(dict(variants=variants, runs=[dict(variant='isda', folder=str(folder))]))
    )
    _, (point,) = read_task(f'scenes={tmp_path}/sweep.json')
    found = (point.name, point.kind, point.shift, point.margin, point.train)
    assert found == ('isda', 'diagonal', 3.0, 4.0, 80.0)


def test_table_and_plot(few, tmp_path):
    tasks = dict([read_task(f'digits={few}#report 10')])
    assert list(rows(tasks))[2] == '| digits | lambda_0=0.5 | 2.00 | 4.00 | 0.50 | 100.0 | +1.00 [+1.00, +1.00] | 2 |'
    draw(tasks, tmp_path / 'advice.png')
    assert (tmp_path / 'advice.png').stat().st_size > 1000
