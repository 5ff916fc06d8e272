"""Paired statistics, against SciPy's own t test."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from mmseg_isda.commands.statistics import Difference, best_of, paired_difference, summarize


def test_the_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    baseline = {seed: rng.normal() for seed in range(7)}
    scores = {seed: value + 0.3 + 0.1 * rng.normal() for seed, value in baseline.items()}
    found = paired_difference(scores, baseline)
    test = ttest_rel(list(scores.values()), list(baseline.values()))
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.pairs == 7 and found.low < found.mean < found.high
    assert found.std == pytest.approx(np.std([scores[s] - baseline[s] for s in scores], ddof=1))


def test_seeds_are_paired_by_their_number_not_by_their_place():
    """Guards a difference of the scores of different seeds."""
    found = paired_difference({2: 5.0, 1: 1.0, 3: 9.0}, {1: 0.0, 2: 3.0, 4: 7.0})
    assert (found.mean, found.pairs) == (1.5, 2)


def test_runs_that_diverged_leave_their_pair_out():
    assert paired_difference({0: math.nan, 1: 2.0}, {0: 1.0, 1: 1.0}).pairs == 1
    assert paired_difference({0: math.nan}, {0: 1.0}) is None
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_a_single_seed_has_no_spread():
    assert summarize([3.0]).std is None
    found = paired_difference({0: 2.0}, {0: 1.0})
    assert (found.mean, found.std, found.low, found.high) == (1.0, None, None, None)


def test_a_variant_with_a_run_that_diverged_is_never_the_best():
    assert math.isnan(summarize([1.0, math.nan]).mean) and math.isnan(summarize([]).mean)
    means = {'a': 1.0, 'b': 3.0, 'c': math.nan, 'd': 3.0}
    assert best_of(means) == 'b' and best_of(means, lower_is_better=True) == 'a'
    assert best_of({'a': math.nan}) is None


@pytest.mark.parametrize(
    ('low', 'high', 'shown'), [(0.1, 2.0, True), (-2.0, -0.1, True), (-0.1, 2.0, False), (0.0, 2.0, False)]
)
def test_a_difference_is_shown_where_its_interval_excludes_zero(low, high, shown):
    """Guards leads that are claimed from an interval that holds zero, and from a single pair."""
    assert Difference((low + high) / 2, 1.0, low, high, 5).is_shown is shown
    assert not Difference(1.0, None, None, None, 1).is_shown
