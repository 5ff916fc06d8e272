"""What the directions mean that ISDA augments along: the images nearest to a feature that was moved along them."""

from __future__ import annotations

import argparse
import math
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from .collect import Sample
from .pictures import COLORS, show_image
from .sources import Case, add_source_options, load_cases

CONTROLS = ('not moved', 'random direction')
LONGEST = 12  # letters of a name below an image


class Shown(NamedTuple):
    """One feature of a class, to be drawn."""

    source: int  # its place in the sample
    names: list[str]  # of K steps away from it
    found: Tensor  # (K, neighbors) what is nearest there, by place in the sample


def moves_of(
    matrix: Tensor, *, count: int, scale: float, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return steps (A,) by name along the leading directions of a covariance (A, A), both ways, between two controls.

    ``scale`` is their length in standard deviations along the direction; that of the random one is their mean.
    """
    values, vectors = torch.linalg.eigh(matrix.double())
    count = min(count, len(matrix))
    leading = scale * (vectors[:, -count:] * values[-count:].clamp_min(0).sqrt()).T.flip(0)
    random = torch.randn(len(matrix), dtype=torch.float64, generator=generator)
    random *= leading.norm(dim=1).mean() / random.norm()
    steps = [torch.zeros_like(random), *(sign * step for step in leading for sign in (1, -1)), random]
    names = [f'direction {k} {sign}' for k in range(1, count + 1) for sign in ('+', '-')]
    return dict(zip([CONTROLS[0], *names, CONTROLS[1]], torch.stack(steps).float(), strict=True))


def nearest(sample: Sample, source: int, places: Tensor, count: int) -> Tensor:
    """Return the (K, count) features of a sample nearest to places (K, A), by index, the nearest first.

    The pixels of the image that the places come from do not count; ``source`` is the feature that was moved.
    """
    distance = torch.cdist(places, sample.features)
    distance[:, sample.image == sample.image[source]] = math.inf
    return distance.topk(count, largest=False).indices


def measure(
    case: Case, *, directions: int, scale: float, neighbors: int, sources: int, generator: torch.Generator
) -> tuple[dict[str, Any], dict[int, Shown]]:
    """Move features of every class, and look for their neighbors.

    Returns for each move the mean share of neighbors of the same class, and of those that the feature has where it is;
    and of each class one feature to be drawn.
    """
    trained, sample = case.trained.needs_statistics(), case.sample
    shown: dict[int, Shown] = {}
    shares = []
    for label in sample.classes:
        matrix = trained.statistics.matrices(torch.tensor([label]))[0]
        moves = moves_of(matrix, count=directions, scale=scale, generator=generator)
        own = (sample.labels == label).nonzero().squeeze(1)
        for source in own[torch.randperm(len(own), generator=generator)[:sources]].tolist():
            found = nearest(sample, source, sample.features[source] + torch.stack([*moves.values()]), neighbors)
            shown.setdefault(label, Shown(source, list(moves), found))
            shares.append(torch.stack([sample.labels[found] == label, torch.isin(found, found[0])]).float().mean(2))
    same, stayed = torch.stack(shares).mean(0).tolist()
    rows = zip(moves, same, stayed, strict=True)
    means = {name: dict(same_class=own, neighbors_that_stay=kept) for name, own, kept in rows}
    return dict(checkpoint=str(trained.path), scale=scale, features_moved=len(shares), moves=means), shown


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``directions``."""
    add_source_options(parser, split='train', per_class=500)
    parser.add_argument('--directions', type=int, default=2, help='leading directions of each class (2)')
    parser.add_argument('--scale', type=float, default=2, help='length of a step in standard deviations (2)')
    parser.add_argument('--neighbors', type=int, default=5, help='images to show of each step (5)')
    parser.add_argument('--moved', type=int, default=50, help='features to move of each class (50)')
    parser.add_argument('--shown', type=int, default=4, help='classes to draw (4)')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Measure one checkpoint and draw a feature of some classes."""
    case = next(load_cases(args))
    numbers, shown = measure(
        case,
        directions=args.directions,
        scale=args.scale,
        neighbors=args.neighbors,
        sources=args.moved,
        generator=torch.Generator().manual_seed(args.seed),
    )
    return numbers, draw(case, numbers, dict(list(shown.items())[: args.shown]))


def draw(case: Case, numbers: dict[str, Any], shown: dict[int, Shown]) -> Figure:
    """Draw one block for each class: a row for each step, its neighbors in it."""
    rows, columns = next(iter(shown.values())).found.shape
    across = min(2, len(shown))
    down = math.ceil(len(shown) / across)
    size = (across * (1.3 + 0.66 * columns), down * (0.63 * rows + 0.5) + 0.5)
    figure = Figure(figsize=size, layout='constrained')
    blocks = figure.subfigures(down, across, squeeze=False, wspace=0.06, hspace=0.04).flat
    for block, (label, entry) in zip(blocks, shown.items(), strict=False):
        _draw_block(block, case, label, entry)
    first, random = (numbers['moves'][name] for name in ('direction 1 +', CONTROLS[1]))
    figure.supxlabel(
        f'Over {numbers["features_moved"]} features: along direction 1, {100 * first["neighbors_that_stay"]:.0f} % of '
        f'the neighbors stay and {100 * first["same_class"]:.0f} % are of the class; along a random direction, '
        f'{100 * random["neighbors_that_stay"]:.0f} % and {100 * random["same_class"]:.0f} %.',
        fontsize=9,
    )
    return figure


def _draw_block(block: SubFigure, case: Case, label: int, shown: Shown) -> None:
    block.suptitle(f'{case.names[label]}: a feature (left) and its nearest neighbors', fontsize=10)
    axes = block.subplots(len(shown.found), shown.found.shape[1] + 1, squeeze=False)
    show_image(axes[0, 0], case.picture(shown.source))
    for row, name in enumerate(shown.names):
        look = dict(va='center', fontsize=8.5, color='#555555' if name in CONTROLS else COLORS[0])
        if row == 0:
            axes[row, 0].set_ylabel(name, rotation=0, ha='right', **look)
        else:
            axes[row, 0].set_axis_off()
            axes[row, 0].text(1, 0.5, name, ha='right', transform=axes[row, 0].transAxes, **look)
        for place, index in zip(axes[row, 1:], shown.found[row].tolist(), strict=True):
            other = int(case.sample.labels[index])
            note, color = ('', 'black') if other == label else (_short(case.names[other]), COLORS[1])
            show_image(place, case.picture(index), note, color=color)


def _short(name: str) -> str:
    """A name that fits below an image."""
    return name if len(name) <= LONGEST else f'{name[: LONGEST - 1]}…'
