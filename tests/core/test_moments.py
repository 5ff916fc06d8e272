"""Sums of outer products of each class where the host may not look at the labels."""

from __future__ import annotations

import math

import pytest
import torch

from mmseg_isda.core import ClassCovariance, moments
from mmseg_isda.core.moments import class_blocks

from ..processes import run_ranks
from ..reference import expected_covariance

IGNORED = 255
NEAR = dict(rtol=1e-5, atol=1e-5)  # float32 beside float64
LABELS = {
    'mixed': torch.arange(1000) % 7,
    'one class': torch.full((1000,), 6),
    'ignored': torch.full((40,), IGNORED),
    'no last class': torch.arange(500) % 5,
    'fewer than classes': torch.tensor([3, 3, IGNORED]),
    'none': torch.zeros(0, dtype=torch.int64),
}


@pytest.fixture
def accelerator(monkeypatch):
    """The way that an accelerator takes, on the CPU."""
    monkeypatch.setattr('mmseg_isda.core.devices.waits', lambda device: True)


@pytest.mark.parametrize('name', LABELS)
def test_each_pixel_lies_in_one_block_of_its_class(name):
    """Guards the bound on the number of blocks, whatever the labels are: a pixel too many would be lost."""
    labels = LABELS[name]
    blocks = class_blocks(labels, 7, IGNORED)
    used = blocks.pixel[blocks.valid]
    assert sorted(used.tolist()) == (labels != IGNORED).nonzero().squeeze(1).tolist()
    assert torch.equal(labels[used], blocks.owner.unsqueeze(1).expand_as(blocks.pixel)[blocks.valid])


@pytest.mark.parametrize('name', [name for name in LABELS if name != 'none'])
@pytest.mark.parametrize('budget', [1, 1 << 24])
def test_full_covariances_of_an_accelerator(name, budget, accelerator, monkeypatch):
    """Guards products of one block at a time and of all at once, and two blocks of a class that meet in its matrix."""
    monkeypatch.setattr(moments, 'BYTES_OF_PRODUCTS', budget)
    labels = LABELS[name]
    features = torch.randn(len(labels), 4) + 10 * labels.unsqueeze(1) % 3
    statistics = ClassCovariance(7, 4, 'full')
    for part in (slice(0, len(labels) // 3), slice(len(labels) // 3, None)):
        statistics.update(features[part], labels[part])
    torch.testing.assert_close(statistics.covariance.double(), expected_covariance(features, labels, 7, 'full'), **NEAR)


def test_maps_of_several_images(accelerator):
    features, labels = torch.randn(3, 4, 9, 5), torch.randint(0, 7, (3, 9, 5))
    statistics = ClassCovariance(7, 4, 'full')
    statistics.update(features, labels)
    expected = expected_covariance(features.movedim(1, -1).flatten(0, 2), labels.flatten(), 7, 'full')
    torch.testing.assert_close(statistics.covariance.double(), expected, **NEAR)


def test_a_batch_that_overflows_changes_nothing(accelerator):
    """Guards 0 times infinity, where nothing may branch on whether the batch is sound."""
    statistics = ClassCovariance(7, 4, 'full')
    features, labels = torch.randn(50, 4), torch.arange(50) % 7
    statistics.update(features, labels)
    before = statistics.covariance.clone()
    features[3, 2] = math.inf
    statistics.update(features, labels)
    assert statistics.num_skipped == 1 and torch.equal(statistics.covariance, before)


def _pooled(rank: int) -> torch.Tensor:
    torch.manual_seed(rank)
    statistics = ClassCovariance(7, 4, 'full')
    statistics.update(torch.randn(2, 4, 5, 5), torch.randint(0, 3 + rank, (2, 5, 5)))
    return statistics.covariance


def test_pooling_of_accelerators(accelerator):
    """Guards classes that no rank has, for which the matrices are divided by a count of 0."""
    first, second = run_ranks(_pooled)
    batches = []
    for rank in (0, 1):
        torch.manual_seed(rank)
        batches.append((torch.randn(2, 4, 5, 5).movedim(1, -1).flatten(0, 2), torch.randint(0, 3 + rank, (50,))))
    features, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    assert torch.equal(first, second)
    torch.testing.assert_close(first.double(), expected_covariance(features, labels, 7, 'full'), **NEAR)
