"""The few-label benchmark: fair pairs, images kept back, the loss of the library and honest intervals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip('sklearn')

from scipy import stats  # scikit-learn brings it

from benchmarks import few_labels
from benchmarks.few_labels import BASE, best, criterion, name_of, paired, rows, run
from benchmarks.few_tasks import crops, tasks
from mmseg_isda.core import ClassCovariance, ISDACriterion

DIGITS = tasks(Path(), Path())['digits']


def test_halves_share_no_image():
    """Guards against settings that are chosen on the images they are reported on."""
    halves = [{image.numpy().tobytes() for image in DIGITS.half(stage)[0]} for stage in ('choose', 'report')]
    assert not halves[0] & halves[1]
    assert len(halves[0]) + len(halves[1]) == 1797


def test_crops_move_by_one_pixel_at_most():
    image = torch.zeros(200, 1, 8, 8)
    image[:, :, 4, 4] = 1
    places = {tuple(place) for place in (crops(image)[:, 0] == 1).nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def test_a_seed_repeats_itself_and_settings_share_its_weights(monkeypatch):
    monkeypatch.setattr(few_labels, 'EPOCHS', 1)
    first, again = (run(DIGITS, 'choose', 5, 3, {}) for _ in range(2))
    assert first == again
    assert run(DIGITS, 'choose', 5, 3, dict(lambda_0=0.0)) == first
    assert run(DIGITS, 'choose', 5, 4, {}) != first


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
@pytest.mark.parametrize('kind', ['full', 'diagonal'])
def test_the_loss_is_that_of_the_library(kind, smoothing):
    classifier, statistics = nn.Linear(6, 10), ClassCovariance(10, 6, kind)
    theirs = ISDACriterion(classifier, 2.0, covariance=kind, label_smoothing=smoothing)
    setting = BASE | dict(lambda_0=2.0, kind=kind, smoothing=smoothing)
    for progress in (0.5, 1.0):
        features, target = torch.randn(40, 6), torch.randint(0, 10, (40,))
        expected = theirs(classifier(features), target, progress=progress)
        loss, shift = criterion(
            classifier(features), features, target, classifier.weight, statistics, setting, progress
        )
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(shift, theirs.mean_shift)


def test_the_rivals_are_those_of_torch():
    logits, target = torch.randn(30, 10), torch.randint(0, 10, (30,))
    for setting, expected in (
        (dict(smoothing=0.3), F.cross_entropy(logits, target, label_smoothing=0.3)),
        (dict(gamma=1.0), -((1 - (p := logits.softmax(1)[range(30), target])) * p.log()).mean()),
    ):
        loss, _ = criterion(logits, None, target, None, None, BASE | setting, 1.0)
        torch.testing.assert_close(loss, expected)


def _scores(**settings: list[float]) -> dict:
    runs = {
        'choose 5 cross entropy': [80.0, 82.0, 81.0],
        **{f'choose 5 {key}': value for key, value in settings.items()},
    }
    return {
        key: {str(seed): dict(test=value, train=100.0, shift=0.0, margin=1.0) for seed, value in enumerate(values)}
        for key, values in runs.items()
    }


def test_the_best_setting_is_that_of_the_seeds_which_all_have():
    """Guards against a setting that wins by the one seed that only it has run."""
    done = _scores(**{'gamma=0.5': [81.0, 83.0, 90.0], 'gamma=1.0': [82.0, 84.0]})
    assert best(done, 5, [dict(gamma=0.5), dict(gamma=1.0)]) == dict(gamma=1.0)


def test_the_interval_is_students():
    done = _scores(**{'gamma=1.0': [81.0, 84.5, 81.5]})
    difference = paired(done, 'choose', 5, dict(gamma=1.0), range(3), {})
    assert difference.tolist() == [1.0, 2.5, 0.5]
    expected = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    *_, row = rows(done, 'choose', 5, [{}, dict(gamma=1.0)], range(3), {})
    assert name_of(dict(gamma=1.0)) in row and f'+1.33 [{expected.low:+.2f}, {expected.high:+.2f}]' in row
    *_, first, _ = rows(done, 'choose', 5, [{}, dict(gamma=1.0)], range(3), dict(gamma=1.0))
    assert f'-1.33 [{-expected.high:+.2f}, {-expected.low:+.2f}]' in first
