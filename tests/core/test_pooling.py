"""Two processes against one: the statistics of the joined batch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributed as dist

from mmseg_isda.core import ClassCovariance
from mmseg_isda.core.statistics import KINDS
from tests.processes import run_ranks
from tests.reference import expected_covariance

CLASSES, SIZE, STEPS = 4, 5, 4
MANY = 300  # classes, of which statistics are larger than the batches: the processes send those instead
FAR = 1000.0  # times the standard deviation


def batches(rank: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of different sizes and class frequencies; class 3 is on rank 1 alone, and rank 0 has one empty batch."""
    generator = torch.Generator().manual_seed(rank)
    out = []
    for step in range(STEPS):
        pixels = 20 + 30 * rank + step
        labels = torch.randint(0, 3 + rank, (pixels,), generator=generator)
        labels[:3] = 255
        if rank == 0 and step == 1:
            labels[:] = 255
        features = torch.randn(pixels, SIZE, generator=generator) + 3 * (1 + labels.unsqueeze(1) % 3) + rank
        out.append((features, labels))
    return out


def update_many(rank: int, kind: str) -> tuple[dict, list[str], list[int]]:
    """Statistics of many classes, the collectives that they took, and the last counts."""
    calls: list[str] = []
    gather = dist.all_gather
    many = ClassCovariance(MANY, SIZE, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, 'all_reduce', lambda *_: calls.append('reduce'))
        patch.setattr(dist, 'all_gather', lambda *args: calls.append('gather') or gather(*args))
        for features, labels in batches(rank):
            counts = many.update(features, labels)
        state = {name: buffer.clone() for name, buffer in many.state_dict().items()}
        many.update(*batches(rank)[0])
    return state, calls, counts.tolist()


def work(rank: int) -> dict:
    results = {}
    for kind in KINDS:
        for sync in (True, False):
            statistics = ClassCovariance(CLASSES, SIZE, kind, sync=sync)
            for features, labels in batches(rank):
                counts = statistics.update(features, labels)
            results[rank, kind, sync] = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
            results[rank, 'counts'] = counts
            far = ClassCovariance(CLASSES, SIZE, kind, sync=sync)
            far.update(batches(rank)[0][0] + FAR, batches(rank)[0][1])
            results[rank, kind, sync, 'far'] = far.covariance.clone()
            features, labels = batches(rank)[0]
            if rank == 1:
                features[0, 0] = math.nan
            statistics.update(features, labels)
            results[rank, kind, sync, 'skipped'] = int(statistics.num_skipped), statistics.count.clone()
        results[rank, kind, 'many'] = update_many(rank, kind)
    return results


@pytest.fixture(scope='module')
def results():
    return {key: value for part in run_ranks(work) for key, value in part.items()}


@pytest.mark.parametrize('kind', KINDS)
def test_two_processes_hold_the_statistics_of_the_joined_batch(results, kind):
    """Guards a mean of the ranks' means, wrong where their counts differ, and a class that one rank lacks."""
    one = ClassCovariance(CLASSES, SIZE, kind)
    for pair in zip(batches(0), batches(1), strict=True):
        one.update(torch.cat([f for f, _ in pair]), torch.cat([y for _, y in pair]))
    for rank in (0, 1):
        both = results[rank, kind, True]
        assert torch.equal(both['count'], one.count)
        for name in ('mean', 'covariance'):
            expected = getattr(one, name)
            assert (both[name] - expected).norm() / expected.norm() < 1e-6, name
    assert torch.equal(results[0, kind, True]['covariance'], results[1, kind, True]['covariance'])


@pytest.mark.parametrize('kind', ['diagonal', 'full'])
def test_small_batches_are_sent_themselves(results, kind):
    """Guards batches that differ in length over processes and time, padding rows that are counted, and their order."""
    one = ClassCovariance(MANY, SIZE, kind)
    for pair in zip(batches(0), batches(1), strict=True):
        one.update(torch.cat([f for f, _ in pair]), torch.cat([y for _, y in pair]))
    for rank in (0, 1):
        state, calls, counts = results[rank, kind, 'many']
        for name, expected in one.state_dict().items():
            assert torch.equal(state[name], expected), name
        # Sizes and first batch take three messages, longer batches two, one that is no longer than another one.
        assert calls == ['gather'] * (1 + 2 * STEPS + 1)
        labels = batches(rank)[-1][1]
        assert counts == torch.bincount(labels[labels != 255], minlength=MANY).tolist()


@pytest.mark.parametrize('kind', KINDS)
def test_a_cold_start_with_a_mean_far_from_zero_keeps_its_accuracy(results, kind):
    """Guards sums around a running mean that is still zero, or a mean rounded to float32 before it is squared."""
    features, labels = (torch.cat(tensors) for tensors in zip(batches(0)[0], batches(1)[0], strict=True))
    expected = expected_covariance(features, labels, CLASSES, kind)
    assert (results[0, kind, True, 'far'] - expected).norm() / expected.norm() < 1e-3


@pytest.mark.parametrize('kind', KINDS)
def test_without_sync_each_process_keeps_its_own(results, kind):
    for rank in (0, 1):
        own = ClassCovariance(CLASSES, SIZE, kind)
        for features, labels in batches(rank):
            own.update(features, labels)
        assert torch.equal(results[rank, kind, False]['count'], own.count)
        torch.testing.assert_close(results[rank, kind, False]['covariance'], own.covariance)


@pytest.mark.parametrize('kind', KINDS)
def test_an_overflow_on_one_process_makes_all_skip_the_batch(results, kind):
    """Guards against ranks whose statistics drift apart."""
    for rank in (0, 1):
        skipped, count = results[rank, kind, True, 'skipped']
        assert skipped == 1 and torch.equal(count, results[rank, kind, True]['count'])
    assert results[0, kind, False, 'skipped'][0] == 0 and results[1, kind, False, 'skipped'][0] == 1


def test_the_counts_returned_are_the_process_s_own(results):
    for rank in (0, 1):
        labels = batches(rank)[-1][1]
        assert results[rank, 'counts'].tolist() == torch.bincount(labels[labels != 255], minlength=CLASSES).tolist()
