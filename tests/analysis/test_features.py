"""Maps of features, and the numbers beside them."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

from mmseg_isda.analysis import features
from mmseg_isda.analysis.directions import moves_of, nearest


def _clusters() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(60) % 3
    return torch.randn(60, 5) + 20 * torch.nn.functional.one_hot(labels, 5), labels


@pytest.mark.parametrize('library', ['openTSNE', 'scikit-learn'])
def test_augmented_features_lie_on_the_map_of_the_real_ones(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a feature must come to lie with its cluster, in the fallback too."""
    if library == 'openTSNE':
        pytest.importorskip('openTSNE')
    else:
        pytest.importorskip('sklearn')
        import_module = builtins.__import__

        def without(name: str, *args, **options):
            if name == 'openTSNE':
                raise ImportError(name)
            return import_module(name, *args, **options)

        monkeypatch.setattr(builtins, '__import__', without)
    real, labels = _clusters()
    copies = real[:3].repeat(4, 1) + 0.1 * torch.randn(12, 5)
    points, placed, used = features.embed(real.numpy(), copies.numpy(), perplexity=30, seed=0)
    assert used == library and points.shape == (60, 2) and placed.shape == (12, 2)
    centers = np.stack([points[labels == label].mean(0) for label in range(3)])
    found = np.linalg.norm(placed[:, None] - centers, axis=2).argmin(1)
    assert np.array_equal(found, np.arange(12) % 3)


def test_purity_counts_neighbors_but_not_the_feature_itself() -> None:
    """A feature is its own nearest neighbor, which would raise the purity of noise."""
    values, labels = _clusters()
    assert features.neighbor_purity(values, labels) == 1
    shuffled = torch.tensor([0, 1] * 300)
    noise = torch.randn(600, 4)
    assert abs(features.neighbor_purity(noise, shuffled, count=1) - 0.5) < 0.1


def test_spread_ratio_is_that_of_the_variances() -> None:
    values, labels = _clusters()
    within = torch.stack([values[labels == label].var(0, correction=0).sum() for label in range(3)]).mean()
    between = values.var(0, correction=0).sum() - within
    assert features.spread_ratio(values, labels) == pytest.approx(float(within / between), rel=1e-4)


def test_moves_are_along_the_leading_directions() -> None:
    """Both ways, as long as asked for, and a random one of the same mean length."""
    rotation = torch.linalg.qr(torch.randn(6, 6))[0]
    matrix = rotation @ torch.diag(torch.tensor([9.0, 4.0, 1.0, 0.1, 0.1, 0.1])) @ rotation.T
    moves = moves_of(matrix, count=2, scale=2)
    steps = torch.stack([*moves.values()])
    assert list(moves) == ['not moved', *(f'direction {k} {s}' for k in (1, 2) for s in '+-'), 'random direction']
    assert torch.allclose(steps.norm(dim=1), torch.tensor([0, 6, 6, 4, 4, 5.0]), atol=1e-4)
    assert torch.allclose(steps[1], -steps[2])
    for step, direction in ((steps[1], rotation[:, 0]), (steps[3], rotation[:, 1])):
        assert torch.allclose((step @ direction).abs(), step.norm(), atol=1e-3)


def test_neighbors_are_of_other_images() -> None:
    """The pixel beside a pixel would always be the nearest, and say nothing."""

    class Pixels:
        features = torch.tensor([[0.0], [0.1], [1.0], [3.0]])
        image = torch.tensor([0, 0, 1, 2])

    places = Pixels.features[0] + torch.tensor([[0.0], [2.5]])
    assert nearest(Pixels, 0, places, 2).tolist() == [[2, 3], [3, 2]]
