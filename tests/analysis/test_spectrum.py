"""Numbers of covariances against NumPy and against made features of known covariance."""

from __future__ import annotations

import numpy as np
import torch

from mmseg_isda.analysis import spectrum
from mmseg_isda.core import LowRankCovariance
from tests.reference import table


def _rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def test_features_of_known_covariance() -> None:
    """The spectrum of the features is that of the matrix that made them, up to what 20,000 samples leave."""
    truth = torch.tensor([9.0, 4.0, 1.0, 0.25], dtype=torch.float64)
    rotation = _rotation(4)
    features = torch.randn(20_000, 4, dtype=torch.float64) * truth.sqrt() @ rotation.T
    matrix = spectrum.covariance_of(features)
    assert torch.allclose(matrix, torch.from_numpy(np.cov(features.numpy().T, bias=True)))
    values = spectrum.eigenvalues(matrix)
    assert np.allclose(values.numpy(), np.linalg.eigvalsh(matrix.numpy())[::-1])
    assert torch.allclose(values, truth, rtol=0.05)
    assert spectrum.held_by_rank(values, (1, 2, 4, 8)).keys() == {1, 2}
    assert abs(spectrum.held_by_rank(values, (2,))[2] - 13 / 14.25) < 0.01


def test_effective_rank_counts_equal_directions() -> None:
    """By the entropy, not by a threshold: four equal directions of nine count four."""
    assert abs(spectrum.effective_rank(torch.tensor([2.0] * 4 + [0.0] * 5)) - 4) < 1e-5
    assert abs(spectrum.effective_rank(torch.tensor([1.0, 1e-12])) - 1) < 1e-5


def test_diagonal_holds_all_of_uncorrelated_features_alone() -> None:
    matrix = torch.diag(torch.tensor([3.0, 1.0]))
    assert spectrum.held_by_diagonal(matrix) == 1
    turned = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    assert abs(spectrum.held_by_diagonal(turned) - 8 / 10) < 1e-6


def test_forms_are_the_table_of_equation_7() -> None:
    weight, matrices = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, 6, dtype=torch.float64)
    matrices = matrices @ matrices.mT
    forms = torch.stack([spectrum.quadratic_forms(weight, y, matrices[y]) for y in range(4)])
    assert torch.allclose(forms, table(weight, matrices, 2.0))


def test_low_rank_matrix_is_that_of_the_statistics() -> None:
    """The picture must show what ``covariance='low_rank'`` keeps: its directions plus the exact variances."""
    features, labels = torch.randn(40, 8) @ torch.randn(8, 8), torch.zeros(40, dtype=torch.int64)
    statistics = LowRankCovariance(2, 8, rank=4)
    statistics.update(features[:1], labels[:1])
    statistics.factor[0] = 0
    matrix = spectrum.covariance_of(features)
    kept = spectrum.cheaper_matrices(matrix, matrix, ranks=(4,))['rank 4']
    values, vectors = np.linalg.eigh(matrix.numpy())
    statistics.factor[0] = torch.from_numpy((vectors[:, -4:] * values[-4:] ** 0.5).T)
    statistics.covariance[0] = matrix.diagonal()
    assert torch.allclose(kept.float(), statistics.matrices()[0], atol=1e-4)


def test_a_factor_of_lambda_is_no_error() -> None:
    """Shifts that are all four times too small need a fourfold lambda_0 and are right otherwise."""
    truth = torch.rand(3, 5) + 1
    compared = spectrum.compare_forms(truth, {'quarter': truth / 4, 'flat': torch.ones(3, 5)})
    assert abs(compared['quarter']['lambda_0_factor'] - 4) < 1e-5
    assert compared['quarter']['error'].max() < 1e-6 < compared['flat']['error'].min()


def test_weight_distance_is_the_mean_over_pairs() -> None:
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert abs(spectrum.weight_distance(weight) - 10 / 3) < 1e-6
