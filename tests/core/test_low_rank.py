"""Full covariances in bounded memory, against the exact ones in float64."""

from __future__ import annotations

import math

import pytest
import torch

from mmseg_isda.core import ClassCovariance, logit_shift
from mmseg_isda.core.low_rank import (
    LowRankCovariance,
    low_rank_shift,
    residual_variance,
    strongest_directions,
)
from tests.processes import run_ranks
from tests.reference import table, two_pass_statistics

CLASSES, SIZE = 4, 12


def stream(steps: int, batch: int, seed: int = 0, drift: float = 0.1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of correlated features whose means move, class 3 rare, some labels ignored."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(CLASSES, SIZE, SIZE, generator=generator) * 0.6 ** torch.arange(SIZE).unsqueeze(1)
    batches = []
    for step in range(steps):
        labels = torch.randint(0, CLASSES if step % 3 == 0 else CLASSES - 1, (batch,), generator=generator)
        noise = torch.randn(batch, 1, SIZE, generator=generator)
        features = (noise @ mix[labels]).squeeze(1) + labels.unsqueeze(1) + drift * step
        labels[0] = 255
        batches.append((features, labels))
    return batches


def joined(batches) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.cat(tensors) for tensors in zip(*batches, strict=True))


def filled(rank: int, batches, **options) -> LowRankCovariance:
    statistics = LowRankCovariance(CLASSES, SIZE, rank, **options)
    for features, labels in batches:
        statistics.update(features, labels)
    return statistics


@pytest.mark.parametrize('batch', [1, 7, 64])
def test_exact_where_the_rank_is_large_enough(batch):
    """Guards the step between the means, the weights of old and new, and classes with more rows than directions."""
    batches = stream(9, batch)
    statistics = filled(SIZE, batches)
    count, mean, covariance = two_pass_statistics(*joined(batches), CLASSES)
    assert torch.equal(statistics.count, count)
    torch.testing.assert_close(statistics.mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(statistics.matrices().double(), covariance, rtol=1e-4, atol=1e-4)


def test_exact_while_a_class_has_had_few_images():
    """As the docstring promises: r + 1 images of a class span r directions around their mean."""
    features, labels = torch.randn(5, SIZE), torch.zeros(5, dtype=torch.int64)
    for split in (1, 2, 5):
        statistics = filled(4, zip(features.split(split), labels.split(split), strict=True))
        expected = two_pass_statistics(features, labels, CLASSES)[2]
        torch.testing.assert_close(statistics.matrices().double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('rank', [1, 3, 6])
def test_variances_are_exact_and_the_error_stays_within_its_bound(rank):
    """Guards the two promises that hold whatever is cut off, for directions of all kinds."""
    batches = stream(30, 16)
    statistics = filled(rank, batches)
    exact = two_pass_statistics(*joined(batches), CLASSES)[2]
    kept = statistics.matrices().double()
    torch.testing.assert_close(kept.diagonal(dim1=1, dim2=2), exact.diagonal(dim1=1, dim2=2), rtol=1e-4, atol=1e-5)
    rest = residual_variance(statistics.factor, statistics.covariance).double()
    assert (rest > 0).any()
    vectors = torch.cat([torch.randn(50, SIZE), torch.eye(SIZE)]).double()
    for label in range(CLASSES):
        error = ((vectors @ (kept[label] - exact[label])) * vectors).sum(1)
        upper = (vectors.square() * rest[label]).sum(1)
        lower = upper - (vectors.abs() @ rest[label].sqrt()).square()
        slack = 1e-4 * exact[label].diagonal().sum()
        assert (error <= upper + slack).all() and (error >= lower - slack).all()


def test_more_directions_err_less_and_all_err_less_than_a_diagonal():
    """Guards a rotation that keeps the weakest directions."""
    batches = stream(30, 16)
    exact = two_pass_statistics(*joined(batches), CLASSES)[2]
    errors = [(filled(rank, batches).matrices().double() - exact).norm() for rank in (1, 2, 4, 8)]
    diagonal = (torch.diag_embed(exact.diagonal(dim1=1, dim2=2)) - exact).norm()
    assert diagonal > errors[0] > errors[1] > errors[2] > errors[3]
    best = torch.linalg.eigvalsh(exact)[:, :-4].square().sum().sqrt()
    assert errors[2] < 1.5 * best  # near the best that any four directions could do


def test_the_strongest_directions_are_the_best_approximation():
    """Eckart and Young: against the singular value decomposition; kept and dropped add up to the whole."""
    rows = torch.randn(5, 7, SIZE, dtype=torch.float64)
    kept = strongest_directions(rows, 3)
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    best = vectors[:, :3].mT @ torch.diag_embed(values[:, :3].square()) @ vectors[:, :3]
    torch.testing.assert_close(kept.mT @ kept, best)
    gram = kept @ kept.mT
    torch.testing.assert_close(gram, torch.diag_embed(values[:, :3].square()))
    assert torch.equal(strongest_directions(rows[:, :2], 3)[:, 2], torch.zeros(5, SIZE, dtype=torch.float64))


def test_more_classes_than_are_worked_on_at_a_time(monkeypatch):
    batches = stream(5, 16)
    expected = filled(3, batches).factor
    monkeypatch.setattr('mmseg_isda.core.low_rank.CLASSES_AT_A_TIME', 1)
    torch.testing.assert_close(filled(3, batches).factor.square(), expected.square(), rtol=1e-3, atol=1e-4)


def test_classes_that_are_absent_keep_their_values():
    statistics = filled(3, stream(6, 16))
    before = {name: buffer.clone() for name, buffer in statistics.named_buffers()}
    statistics.update(torch.randn(4, SIZE), torch.tensor([1, 1, 255, 1]))
    others = [0, 2, 3]
    for name in ('count', 'mean', 'covariance', 'factor'):
        assert torch.equal(getattr(statistics, name)[others], before[name][others])
        assert not torch.equal(getattr(statistics, name)[1], before[name][1])


@pytest.mark.parametrize('labels', [[0, 1], [255, 255]])
def test_a_batch_that_is_not_finite_or_is_ignored_changes_nothing(labels):
    statistics = filled(3, stream(6, 16))
    before = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
    features = torch.full((2, SIZE), math.nan if labels[0] == 0 else 1.0)
    counts = statistics.update(features, torch.tensor(labels))
    assert all(torch.equal(value, before[name]) for name, value in statistics.state_dict().items())
    assert statistics.num_skipped == (labels[0] == 0) and counts.sum() == (2 if labels[0] == 0 else 0)


def test_maps_are_taken_pixel_by_pixel():
    """Guards the order of axes: (N, A, H, W) features and (N, H, W) labels."""
    features, labels = torch.randn(2, SIZE, 3, 5), torch.randint(0, CLASSES, (2, 3, 5))
    maps, rows = LowRankCovariance(CLASSES, SIZE, 4), LowRankCovariance(CLASSES, SIZE, 4)
    maps.update(features, labels)
    rows.update(features.permute(0, 2, 3, 1).reshape(-1, SIZE), labels.flatten())
    torch.testing.assert_close(maps.factor, rows.factor)


def test_features_far_from_zero_keep_their_accuracy():
    """A mean of 1e3 standard deviations: sums around zero would lose everything in float32."""
    batches = [(features + 1000, labels) for features, labels in stream(20, 16, drift=0)]
    exact = two_pass_statistics(*joined(batches), CLASSES)[2]
    assert (filled(SIZE, batches).matrices() - exact).norm() / exact.norm() < 1e-2


def test_half_precision_features_and_modules():
    statistics = filled(3, [(features.bfloat16(), labels) for features, labels in stream(4, 16)])
    assert statistics.half().factor.dtype == torch.float32
    assert statistics.double().factor.dtype == torch.float64


def shift_case():
    weight = torch.randn(CLASSES, SIZE, dtype=torch.float64)
    statistics = filled(3, stream(20, 16)).double()
    return weight, statistics


def test_the_shift_is_that_of_the_matrices_it_stands_for():
    """Entry by entry, in float64; rows of chosen classes, in any order and repeated."""
    weight, statistics = shift_case()
    expected = table(weight, statistics.matrices(), 1.5)
    got = low_rank_shift(weight, statistics.factor, statistics.covariance, 1.5)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert not got.diagonal().any()
    classes = torch.tensor([2, 0, 2])
    rows = low_rank_shift(weight, statistics.factor, statistics.covariance, 1.5, classes=classes)
    torch.testing.assert_close(rows, expected[classes], rtol=1e-9, atol=1e-9)


def test_a_common_offset_of_the_weights_costs_no_accuracy():
    """It cancels in w_j - w_y, but not in the rounding of float32 squares."""
    weight, statistics = shift_case()
    statistics.factor.zero_()  # so that all of it is squares
    factor, variance = statistics.factor.float(), statistics.covariance.float()
    expected = table(weight, statistics.matrices(), 1.5)
    got = low_rank_shift((weight + 100).float(), factor, variance, 1.5).double()
    assert (got - expected).norm() / expected.norm() < 1e-4


def test_rounding_leaves_no_negative_variance():
    """Where the factors hold everything, what they leave is zero but for the last bits."""
    statistics = filled(SIZE, stream(9, 64))
    assert (statistics.covariance - statistics.factor.square().sum(1) < 0).any()
    assert (residual_variance(statistics.factor, statistics.covariance) >= 0).all()


def test_the_gradient_of_the_shift():
    """By finite differences; none reaches the statistics."""
    weight, statistics = shift_case()
    weight.requires_grad_()
    factor = statistics.factor.clone().requires_grad_()
    classes = torch.tensor([1, 3])

    def rows(weight):
        return low_rank_shift(weight, factor, statistics.covariance, 0.7, classes=classes)

    assert torch.autograd.gradcheck(rows, weight)
    rows(weight).sum().backward()
    assert factor.grad is None


def test_the_shift_of_full_rank_is_that_of_the_full_covariance():
    """Two roads to the same table: the low-rank one and that of kind full, in float32 under autocast."""
    batches = stream(20, 16)
    full = ClassCovariance(CLASSES, SIZE, 'full')
    for features, labels in batches:
        full.update(features, labels)
    statistics = filled(SIZE, batches)
    weight = torch.randn(CLASSES, SIZE)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = low_rank_shift(weight, statistics.factor, statistics.covariance, 0.5)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, logit_shift(weight, full.covariance, 0.5), rtol=1e-3, atol=1e-3)


def test_later_updates_do_not_disturb_the_gradient():
    """Guards statistics that change in place between forward and backward, as gradient accumulation may do."""
    weight, statistics = shift_case()
    weight.requires_grad_()
    gradients = []
    for disturb in (False, True):
        shift = low_rank_shift(weight, statistics.factor, statistics.covariance, 1.0)
        if disturb:
            statistics.update(torch.randn(8, SIZE).double(), torch.arange(8) % CLASSES)
        gradients.append(torch.autograd.grad(shift.square().sum(), weight)[0])
    assert torch.equal(*gradients)


def test_a_state_dict_restores_everything():
    batches = stream(10, 16)
    whole = filled(3, batches)
    other = filled(3, batches[:5])
    resumed = LowRankCovariance(CLASSES, SIZE, 3)
    resumed.load_state_dict(other.state_dict())
    for features, labels in batches[5:]:
        resumed.update(features, labels)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_checkpoints_of_another_kind_are_refused():
    state = filled(3, stream(2, 16)).state_dict()
    with pytest.raises(ValueError, match=r'factor of shape \(4, 3, 12\).*needs \(4, 5, 12\) for covariance=.low_rank'):
        LowRankCovariance(CLASSES, SIZE, 5).load_state_dict(state)
    with pytest.raises(ValueError, match="no factor.*another covariance than 'low_rank'"):
        LowRankCovariance(CLASSES, SIZE, 3).load_state_dict(ClassCovariance(CLASSES, SIZE).state_dict())
    with pytest.warns(UserWarning, match='no ISDA statistics'):
        LowRankCovariance(CLASSES, SIZE, 3).load_state_dict({})


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: LowRankCovariance(4, 3, 0), 'rank must be at least 1, got 0'),
        (lambda: LowRankCovariance(1, 3), 'num_classes must be at least 2'),
        (lambda: LowRankCovariance(4, 3).update(torch.zeros(2, 3), torch.tensor([0, 9])), 'value 9'),
        (lambda: low_rank_shift(torch.zeros(3), *shapes(), 1.0), r'weight must have shape \(C, A\), got \(3,\)'),
        (lambda: low_rank_shift(torch.zeros(3, 5), *shapes(), 1.0), r'factor must have shape \(3, r, 5\)'),
        (lambda: low_rank_shift(torch.zeros(4, 3), *shapes(2), 1.0), r'variance must have shape \(4, 3\)'),
        (lambda: low_rank_shift(torch.zeros(4, 3), *shapes(), -1.0), 'strength .* must be 0 or more, got -1'),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def shapes(size=3):
    return torch.zeros(4, 2, 3), torch.zeros(4, size)


def work(rank: int) -> dict:
    results = {}
    for sync in (True, False):
        statistics = filled(3, own_batches(rank), sync=sync)
        results[rank, sync] = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
        features, labels = own_batches(rank)[0]
        if rank == 1:
            features[1, 0] = math.nan
        counts = statistics.update(features, labels)
        results[rank, sync, 'skipped'] = int(statistics.num_skipped), counts.tolist()
    return results


def own_batches(rank: int):
    """Rank 1 has batches of another size; rank 0 never sees class 3 and once nothing at all."""
    batches = stream(8, 10 + 7 * rank, seed=rank)
    if rank == 0:
        batches = [(features, labels.where(labels != 3, 255)) for features, labels in batches]
        batches[2][1][:] = 255
    return batches


@pytest.fixture(scope='module')
def results():
    return {key: value for part in run_ranks(work) for key, value in part.items()}


def test_two_processes_hold_the_statistics_of_the_joined_batch(results):
    """Bit for bit, as each does what one process would do; a class that one rank lacks, batches of unequal size."""
    batches = [
        (torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])) for a, b in zip(own_batches(0), own_batches(1), strict=True)
    ]
    one = filled(3, batches).state_dict()
    for rank in (0, 1):
        assert all(torch.equal(results[rank, True][name], value) for name, value in one.items())


def test_without_sync_each_process_keeps_its_own(results):
    for rank in (0, 1):
        own = filled(3, own_batches(rank)).state_dict()
        assert all(torch.equal(results[rank, False][name], value) for name, value in own.items())


def test_an_overflow_on_one_process_makes_all_skip_the_batch(results):
    """The counts that come back are the process's own all the same."""
    for rank in (0, 1):
        labels = own_batches(rank)[0][1]
        counts = torch.bincount(labels[labels != 255], minlength=CLASSES).tolist()
        assert results[rank, True, 'skipped'] == (1, counts)
    assert results[0, False, 'skipped'][0] == 0 and results[1, False, 'skipped'][0] == 1
