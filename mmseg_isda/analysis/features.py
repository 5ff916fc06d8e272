"""t-SNE of the features (Fig. 8), with augmented features on the map of the real ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..core.explicit import sample_directions
from .pictures import color_and_marker
from .sources import Case, add_source_options, load_cases

NEIGHBORS = 10
NAMES_AT_MOST = 49


def embed(
    features: np.ndarray, extra: np.ndarray, *, perplexity: float, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Place features (N, A) on a plane by t-SNE, and further ones (M, A) on the same plane; name the library too.

    openTSNE places the further ones on the finished map, which they do not change. Without it, scikit-learn makes one
    map of all. The perplexity is at most a third of N.
    """
    perplexity = min(perplexity, (len(features) - 1) / 3)
    try:
        from openTSNE import TSNE
    except ImportError:
        from sklearn.manifold import TSNE

        points = TSNE(perplexity=perplexity, random_state=seed).fit_transform(np.concatenate([features, extra]))
        return points[: len(features)], points[len(features) :], 'scikit-learn'
    fitted = TSNE(perplexity=perplexity, random_state=seed, n_jobs=torch.get_num_threads()).fit(features)
    placed = np.asarray(fitted.transform(extra)) if len(extra) else np.zeros((0, 2))
    return np.asarray(fitted), placed, 'openTSNE'


def neighbor_purity(features: Tensor, labels: Tensor, count: int = NEIGHBORS) -> float:
    """Return the share of the nearest neighbors of features (N, A) that have the same label, averaged."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(count, len(features) - 1)).fit(features.numpy())
    nearest = torch.from_numpy(search.kneighbors(return_distance=False))
    return float((labels[nearest] == labels[:, None]).float().mean())


def spread_ratio(features: Tensor, labels: Tensor) -> float:
    """Return the variance within the classes over that between their means: the smaller, the tighter the clusters."""
    from sklearn.metrics import calinski_harabasz_score

    count, num_classes = len(labels), len(labels.unique())
    score = calinski_harabasz_score(features.numpy(), labels.numpy())  # between over within, each by its freedom
    return float((count - num_classes) / (num_classes - 1) / score)


def augment(case: Case, per_class: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Augment one feature of each class as ISDA does (Eq. 4).

    Returns (K,) chosen features, by their place in the sample, and (K, per_class, A) copies.
    """
    trained, sample = case.trained.needs_statistics(), case.sample
    order = torch.randperm(len(sample), generator=generator)
    chosen = torch.stack([order[sample.labels[order] == label][0] for label in sample.classes])
    directions = sample_directions(trained.statistics, sample.labels[chosen], per_class, generator=generator)
    return chosen, sample.features[chosen].unsqueeze(1) + trained.strength**0.5 * directions


def measure(case: Case, *, augmented: int, perplexity: float, seed: int) -> dict[str, Any]:
    """Return the map of a checkpoint's features and how well the classes are apart in all dimensions."""
    trained, sample = case.trained, case.sample
    chosen, copies = torch.zeros(0, dtype=torch.int64), sample.features[:0].unsqueeze(1).expand(-1, augmented, -1)
    if augmented and trained.statistics is not None:
        chosen, copies = augment(case, augmented, generator=torch.Generator().manual_seed(seed))
    extra = copies.flatten(0, 1)
    points, placed, library = embed(sample.features.numpy(), extra.numpy(), perplexity=perplexity, seed=seed)
    kept = (copies @ trained.weight.T + trained.bias).argmax(2) == sample.labels[chosen, None]
    return dict(
        checkpoint=str(trained.path),
        title=trained.title,
        accuracy_percent=100 * float((sample.logits.argmax(1) == sample.labels).float().mean()),
        neighbor_purity=neighbor_purity(sample.features, sample.labels),
        spread_within_over_between=spread_ratio(sample.features, sample.labels),
        augmented_that_keep_their_class=float(kept.float().mean()) if len(chosen) else None,
        library=library,
        names=case.names,
        points=points,
        labels=sample.labels,
        chosen=chosen,
        augmented_points=placed.reshape(*copies.shape[:2], 2),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``features``."""
    add_source_options(parser, split='val', per_class=100)
    parser.add_argument('--perplexity', type=float, default=30, help='of t-SNE: about how many neighbors count (30)')
    parser.add_argument('--augmented', type=int, default=20, help='augmented copies of a feature of each class (20)')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Measure and draw each checkpoint, side by side."""
    options = dict(augmented=args.augmented, perplexity=args.perplexity, seed=args.seed)
    maps = [measure(case, **options) for case in load_cases(args)]
    return dict(maps=maps), draw(maps)


def draw(maps: Sequence[dict[str, Any]]) -> Figure:
    """Draw what :func:`measure` returned of each checkpoint."""
    figure = Figure(figsize=(3.9 * len(maps) + 1, 4.5))
    for axes, entry in zip(np.atleast_1d(figure.subplots(1, len(maps))), maps, strict=True):
        _draw_map(axes, entry)
    handles, names = figure.axes[0].get_legend_handles_labels()
    if len(names) <= NAMES_AT_MOST:
        figure.legend(handles, names, loc='outside right center', markerscale=2, fontsize=9)
    return figure


def _draw_map(axes: Axes, entry: dict[str, Any]) -> None:
    for label in entry['labels'].unique().tolist():
        color, marker = color_and_marker(label)
        own = entry['points'][entry['labels'] == label]
        axes.scatter(*own.T, s=12, color=color, marker=marker, alpha=0.6, lw=0, label=entry['names'][label])
    for index, copies in zip(entry['chosen'].tolist(), entry['augmented_points'], strict=True):
        color, marker = color_and_marker(int(entry['labels'][index]))
        axes.scatter(*copies.T, s=26, color=color, marker='x', lw=1.1)
        axes.scatter(*entry['points'][index], s=90, color=color, marker=marker, edgecolor='black', lw=1.5, zorder=3)
    axes.set(
        xticks=[],
        yticks=[],
        title=f'{entry["title"]}\n{100 * entry["neighbor_purity"]:.1f} % of the neighbors share the class',
    )
    axes.spines[:].set(visible=True, color='#BBBBBB')
    axes.grid(False)
    axes.set_aspect('equal', 'datalim')
    if len(entry['chosen']):
        axes.set_xlabel('large: a feature; crosses: its augmented copies', fontsize=9)
