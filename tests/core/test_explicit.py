"""Explicit augmentation by samples, and learned covariances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_isda.core import isda_cross_entropy, new_statistics
from mmseg_isda.core.explicit import (
    LearnedCovariance,
    explicit_cross_entropy,
    matrix_roots,
    sample_directions,
    uncertainty_loss,
)
from tests.reference import table

KINDS = ('diagonal', 'full', 'shared', 'identity', 'low_rank')


def _statistics(kind: str, num_classes: int = 3, size: int = 6) -> nn.Module:
    statistics = new_statistics(kind, num_classes, size, rank=2)
    labels = torch.arange(90) % num_classes
    mixing = torch.randn(num_classes, size, size)
    features = torch.einsum('na,nab->nb', torch.randn(90, size), mixing[labels])
    statistics.update(features, labels)
    return statistics


@pytest.mark.parametrize('kind', KINDS)
def test_directions_have_the_covariance_of_their_class(kind: str) -> None:
    """A root transposed, or looked up by the place in the batch, leaves the mean right and the covariance wrong."""
    statistics = _statistics(kind)
    labels = torch.tensor([2, 0, 2])
    directions = sample_directions(statistics, labels, 60_000)
    assert directions.shape == (3, 60_000, 6)
    for label, drawn in zip(labels.tolist(), directions, strict=True):
        truth = statistics.matrices()[label]
        assert torch.allclose(drawn.T @ drawn / len(drawn), truth, atol=0.05 * float(truth.diagonal().max()))
        assert drawn.mean(0).abs().max() < 0.1 * float(truth.diagonal().max()) ** 0.5


def test_a_class_without_samples_is_not_moved() -> None:
    """Its covariance is zero: neither a failed factorization nor a direction made of jitter."""
    statistics = new_statistics('full', 2, 4)
    assert sample_directions(statistics, torch.tensor([0, 1]), 5).abs().max() < 1e-15


def test_roots_of_singular_and_indefinite_matrices() -> None:
    """Few samples make a singular covariance, which rounding turns slightly indefinite."""
    rows = torch.randn(3, 8)
    singular = rows.T @ rows
    indefinite = singular - 1e-4 * singular.trace() / 8 * torch.eye(8)
    for matrix in (singular, indefinite):
        root = matrix_roots(matrix[None])[0]
        assert torch.allclose(root @ root.T, matrix, atol=1e-3 * float(singular.trace()))


@pytest.mark.parametrize('kind', KINDS)
def test_many_samples_approach_isda_from_below(kind: str) -> None:
    """Eq. 5 with M -> infinity is Eq. 6, which Eq. 7 bounds: closely while lambda is small."""
    statistics = _statistics(kind)
    weight, labels = 0.3 * torch.randn(3, 6), torch.tensor([0, 1, 2, 1])
    logits = torch.randn(4, 6) @ weight.T
    directions = sample_directions(statistics, labels, 40_000)
    for strength in (0.1, 0.5):
        explicit = explicit_cross_entropy(logits, labels, weight, directions, strength)
        shift = table(weight.double(), statistics.matrices().double(), strength).float()
        bound = isda_cross_entropy(logits, labels, shift, reduction='none')
        assert (explicit < bound + 0.01 * bound).all()
        if strength == 0.1:
            assert torch.allclose(explicit, bound, rtol=0.1)


def test_loss_is_equation_5_written_out() -> None:
    """For each sample the cross entropy of the augmented feature itself, with its gradient to weight and feature."""
    torch.set_default_dtype(torch.float64)
    try:
        weight, features = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
        labels, directions, bias = torch.tensor([2, 0]), torch.randn(2, 5, 4), torch.randn(3)

        def literal(weight: Tensor, features: Tensor) -> Tensor:
            losses = [
                torch.stack([-F.log_softmax(weight @ (a + 0.7**0.5 * d) + bias, 0)[y] for d in drawn]).mean()
                for a, y, drawn in zip(features, labels.tolist(), directions, strict=True)
            ]
            return torch.stack(losses)

        def ours(weight: Tensor, features: Tensor) -> Tensor:
            return explicit_cross_entropy(features @ weight.T + bias, labels, weight, directions, 0.7)

        assert torch.allclose(ours(weight, features), literal(weight, features))
        for got, wanted in zip(
            torch.autograd.grad(ours(weight, features).sum(), (weight, features)),
            torch.autograd.grad(literal(weight, features).sum(), (weight, features)),
            strict=True,
        ):
            assert torch.allclose(got, wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def _learned() -> LearnedCovariance:
    learned = LearnedCovariance(3, 4)
    nn.init.normal_(learned.root)
    return learned


def test_learned_covariance_samples_and_shifts_as_its_matrix() -> None:
    """Sigma is D D', not D' D: the two differ as soon as D is not symmetric."""
    learned = _learned()
    labels = torch.tensor([1, 1, 2])
    matrices = learned.root @ learned.root.mT
    drawn = learned.sample(labels, 60_000)[0].detach()
    assert torch.allclose(drawn.T @ drawn / len(drawn), matrices[1], atol=0.05 * float(matrices[1].detach().trace()))
    weight = torch.randn(3, 4)
    assert torch.allclose(learned.shift(weight, labels, 0.6), table(weight, matrices, 0.6)[labels], atol=1e-5)


def test_learned_covariance_gets_gradients() -> None:
    """Through the samples, through the shift and through the entropy, or it would stay where it began."""
    learned, labels = _learned(), torch.tensor([0, 1])
    for value in (learned.sample(labels, 2), learned.shift(torch.randn(3, 4), labels, 1.0), learned.entropy(labels)):
        (grad,) = torch.autograd.grad(value.square().sum(), learned.root)
        assert grad[:2].abs().amax((1, 2)).min() > 0 and not grad[2].any()


def test_entropy_is_that_of_a_gaussian() -> None:
    learned = _learned()
    matrices = (learned.root @ learned.root.mT).double()
    truth = torch.distributions.MultivariateNormal(torch.zeros(3, 4).double(), matrices).entropy() / 4
    assert torch.allclose(learned.entropy(torch.arange(3)).double(), truth, atol=1e-4)


def test_uncertainty_loss_stops_at_the_margin() -> None:
    unit = torch.full((2,), 0.5 * math.log(2 * math.pi * math.e))
    assert uncertainty_loss(unit, 1.0) == 0
    assert torch.isclose(uncertainty_loss(unit, 2.0), 2.0 - unit[0])
