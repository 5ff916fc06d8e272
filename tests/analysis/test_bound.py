"""The Monte-Carlo estimate of Eq. 6 and the bound of Eq. 7."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_isda.analysis import bound
from mmseg_isda.core import ClassCovariance
from mmseg_isda.core.explicit import explicit_cross_entropy, sample_directions

quad = pytest.importorskip('scipy.integrate').quad


def _case(num_classes: int, kind: str = 'full', size: int = 5) -> tuple[Tensor, Tensor, Tensor, ClassCovariance]:
    """Logits, labels, weight and statistics of made features."""
    features = torch.randn(60, size) @ torch.randn(size, size)
    labels = torch.arange(60) % num_classes
    statistics = ClassCovariance(num_classes, size, kind)
    statistics.update(features, labels)
    weight = torch.randn(num_classes, size)
    return features[:8] @ weight.T, labels[:8], weight, statistics


def test_two_classes_agree_with_quadrature() -> None:
    """A wrong scale of the samples, such as lambda in place of its root, would go unnoticed by eye."""
    logits, labels, weight, statistics = _case(2)
    strength = 0.7
    means, errors = bound.expected_losses(logits, labels, statistics.gram(weight), strength, num_samples=20_000)
    for z, label, mean, error in zip(logits.double(), labels.tolist(), means, errors, strict=True):
        difference = (weight[1 - label] - weight[label]).double()
        variance = strength * float(difference @ statistics.covariance[label].double() @ difference)
        margin = float(z[1 - label] - z[label])
        spread = variance**0.5
        exact = quad(lambda g, m=margin, s=spread: _softplus(m + s * g) * _normal(g), -8, 8, limit=200)[0]
        assert abs(float(mean) - exact) < 5 * float(error.sqrt()) + 1e-6


def test_gap_is_the_one_that_the_documents_name() -> None:
    """To first order lambda/2 (p - e_y)' W Sigma W' (p - e_y): none where the network is right and sure."""
    torch.manual_seed(1)
    gram = torch.randn(2, 2, dtype=torch.float64)
    gram, strength = gram @ gram.T, 1e-3
    spread = float(strength * (gram[0, 0] + gram[1, 1] - 2 * gram[0, 1])) ** 0.5
    for margin in (-2.0, 0.5, 3.0):  # logit of the wrong class minus that of the right one
        expected = quad(lambda g, m=margin: _softplus(m + spread * g) * _normal(g), -8, 8, epsabs=1e-13)[0]
        gap = _softplus(margin + spread**2 / 2) - expected
        probability = torch.tensor([0.0, margin], dtype=torch.float64).softmax(0)
        difference = probability - torch.tensor([1.0, 0.0], dtype=torch.float64)
        assert gap == pytest.approx(float(strength / 2 * difference @ gram @ difference), rel=0.02)


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def _normal(g: float) -> float:
    return math.exp(-g * g / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared', 'identity'])
def test_the_bound_lies_above_and_touches_at_zero(kind: str) -> None:
    """Jensen's inequality, Eq. 9: a table for the wrong class would break it."""
    logits, labels, weight, statistics = _case(4, kind)
    plain = F.cross_entropy(logits, labels, reduction='none').double()
    for strength in (0.0, 0.3):
        means, errors = bound.expected_losses(logits, labels, statistics.gram(weight), strength, num_samples=4000)
        above = bound.bound_losses(logits.double(), labels, statistics.shift(weight, strength))
        assert (above >= means - 4 * errors.sqrt() - 1e-9).all()
        if strength == 0:
            assert torch.allclose(means, plain, atol=1e-6) and torch.allclose(above, plain, atol=1e-6)


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory must not put the estimate of one feature in the place of another."""
    logits, labels, weight, statistics = _case(4)
    gram = statistics.gram(weight)

    def estimate() -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return bound.expected_losses(logits, labels, gram, 0.5, num_samples=64, generator=generator)[0]

    whole = estimate()
    monkeypatch.setattr(bound, 'ELEMENTS_AT_A_TIME', 1)
    assert torch.equal(estimate(), whole)


def test_standard_error_is_the_spread_of_repeated_estimates() -> None:
    """An error that forgets to divide by M, or divides twice, tells a reader the wrong thing."""
    logits, labels, weight, statistics = _case(3)
    repeats = [bound.expected_losses(logits, labels, statistics.gram(weight), 0.5, num_samples=50) for _ in range(400)]
    means, errors = (torch.stack(parts) for parts in zip(*repeats, strict=True))
    assert torch.allclose(means.var(0), errors.mean(0), rtol=0.35)


@pytest.mark.parametrize('kind', ['diagonal', 'full'])
def test_explicit_augmentation_approaches_the_expectation(kind: str) -> None:
    """Eq. 5 with many samples of features is Eq. 6, estimated here from samples of logits."""
    logits, labels, weight, statistics = _case(4, kind)
    means, errors = bound.expected_losses(logits, labels, statistics.gram(weight), 0.5, num_samples=40_000)
    directions = sample_directions(statistics, labels, 40_000)
    explicit = explicit_cross_entropy(logits, labels, weight, directions, 0.5)
    assert ((explicit - means).abs() < 5 * (2 * errors).sqrt() + 1e-5).all()


def test_a_picture_of_each_kind_is_drawn() -> None:
    """One point, as a run with a single checkpoint has, must not break the axes."""
    row = {'at': 1, 'lambda': 0.5, 'cross_entropy': 1.0, 'expected': 1.1, 'standard_error': 0.0, 'bound': 1.2}
    rows = [row | {'gap_percent': 9.0}]
    assert len(bound.draw(rows, 'epoch').axes) == len(bound.draw(rows, 'lambda', 0.5).axes) == 2
