"""Augmented features as images (Figs. 6, 7, 12 to 14): the input of a generator is found by gradient descent."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor

from ..core.explicit import sample_directions
from ..errors import OptionError
from .generators import check_generator, functions_of, load_generator, to_network
from .pictures import COLORS, show_image
from .sources import Case, add_source_options, load_cases
from .trained import as_picture

POOL = 50_000  # images to look for neighbors in
NEIGHBORS = 5


@dataclass(frozen=True)
class Descent:
    """How one step of the mapping is solved."""

    optimizer: str  # of torch.optim
    lr: float  # divided by 10 after each quarter
    steps: int
    options: dict[str, Any]  # further ones of the optimizer


_GD = dict(momentum=0.9, weight_decay=1e-4)
# Step I and step II: the paper's for CIFAR, what the authors' program for ImageNet does, and one that needs no tuning.
PRESETS = {
    'adam': (Descent('Adam', 0.1, 500, {}), Descent('Adam', 0.03, 500, {})),
    'cifar': (Descent('SGD', 10, 10_000, _GD), Descent('SGD', 1, 10_000, _GD)),
    'imagenet': (
        Descent('Adam', 100, 8000, dict(weight_decay=1e-4)),
        Descent('SGD', 0.1, 8000, _GD | dict(nesterov=True)),
    ),
}


def standardize(z: Tensor) -> Tensor:
    """Return (N, L) inputs of a generator with mean 0 and standard deviation 1 each, as in Eqs. 20 and 21."""
    return (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)


def descend(
    objective: Callable[[Tensor], Tensor], z: Tensor, descent: Descent, name: str = ''
) -> tuple[Tensor, Tensor]:
    """Minimize an objective, (N,) values of standardized inputs (N, L) of a generator, each of its own row.

    Returns for each row the best on its path, (N, L), and its value, (N,).
    """
    z = z.detach().clone().requires_grad_()
    optimizer = getattr(torch.optim, descent.optimizer)([z], lr=descent.lr, **descent.options)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, max(1, descent.steps // 4), 0.1)
    best, lowest = z.detach().clone(), z.new_full((len(z),), torch.inf)
    for _ in track(range(descent.steps), name, transient=True):
        values = objective(standardize(z))
        is_better = values.detach() < lowest
        best[is_better], lowest[is_better] = z.detach()[is_better], values.detach()[is_better]
        optimizer.zero_grad()
        values.sum().backward()
        optimizer.step()
        scheduler.step()
    return best, lowest


def invert(
    render: Callable[[Tensor], Tensor],
    encode: Callable[[Tensor], Tensor],
    features: Tensor,
    z: Tensor,
    *,
    descent: Descent,
    images: Tensor | None = None,
    eta: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Find inputs whose images have given features (step II, Eq. 21), and look like given ones (step I, Eq. 20).

    Args:
        render: standardized inputs (N, L) to images, as the network gets them.
        encode: images to features (N, A).
        features: (N, A) to be met.
        z: (N, L) to begin with.
        descent: how.
        images: (N, channels, H, W) to look like, for step I.
        eta: weight of the squared differences of the pixels.

    Returns:
        (N, L) inputs, not standardized, and the (N,) values of the objective.
    """

    def objective(inputs: Tensor) -> Tensor:
        rendered = render(inputs)
        distance = (encode(rendered) - features).square().sum(1)
        return distance if images is None else distance + eta * (rendered - images).square().flatten(1).sum(1)

    return descend(objective, z, descent, 'Step II' if images is None else 'Step I')


# --- the command -----------------------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``reverse``."""
    add_source_options(parser, split='train', per_class=50)
    parser.add_argument('--generator', required=True, metavar='FILE', help='TorchScript file, or package.module:name')
    parser.add_argument('--latent', type=int, default=100, help='size of the inputs of the generator (100)')
    parser.add_argument(
        '--range', type=float, nargs=2, default=(-1, 1), metavar=('BLACK', 'WHITE'), help='of its pixels (-1 1)'
    )
    parser.add_argument('--preset', choices=sorted(PRESETS), default='cifar', help='of the descent (cifar)')
    parser.add_argument('--steps', type=int, help='of each descent (that of the preset)')
    parser.add_argument('--starts', type=int, default=1, help='of step I for each image; the best counts (1)')
    parser.add_argument('--eta', type=float, default=5e-3, help='weight of the pixels in step I (0.005)')
    parser.add_argument('--shown', type=int, default=6, help='classes, an image of each (6)')
    parser.add_argument('--augmented', type=int, default=3, help='augmented features of each image (3)')


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Figure]:
    """Map augmented features of one checkpoint back to images, and draw them."""
    case = next(load_cases(args))
    trained, sample, dataset = case.trained.needs_statistics(), case.sample, case.dataset
    if case.is_dense:
        raise OptionError('reverse needs one feature for each image: name a config of classification')
    if args.augmented < 1:
        raise OptionError(f'--augmented must be 1 or more, got {args.augmented}')
    generator = load_generator(args.generator)
    check_generator(generator, args.latent, dataset[0]['inputs'].shape, args.generator)
    chosen = torch.stack([(sample.labels == label).nonzero()[0, 0] for label in sample.classes[: args.shown]])
    labels = sample.labels[chosen]
    original = torch.stack([dataset[index]['inputs'] for index in sample.image[chosen].tolist()])
    torch.manual_seed(args.seed)
    mapped = map_back(case, generator, original, labels, args)
    pool = torch.stack([dataset[index]['inputs'] for index in range(min(len(dataset), POOL))])
    mapped |= dict(original=original.float(), neighbors=pool[nearest_images(mapped['augmented'][:, 0], pool)].float())
    scale = class_distance(sample.features, sample.labels)[labels]
    numbers = summarize(mapped, scale) | dict(
        checkpoint=str(trained.path), generator=args.generator, classes=[case.names[label] for label in labels.tolist()]
    )
    return numbers | {'lambda': trained.strength}, draw(case, numbers, mapped)


def map_back(
    case: Case, generator: Callable[[Tensor], Tensor], original: Tensor, labels: Tensor, args: argparse.Namespace
) -> dict[str, Tensor]:
    """Run both steps of the mapping for K images of 0 to 255, with M = ``args.augmented``.

    Returns:
        ``found`` (K, ...) and ``augmented`` (K, M, ...), images of steps I and II, 0 to 255; ``found_error`` (K,),
        ``augmented_error`` (K, M), squared distances of their features from the wanted ones; ``augmentation`` (K, M),
        squared lengths of the steps from the features to the augmented ones.
    """
    trained, starts, count = case.trained, args.starts, args.augmented
    steps = [replace(step, steps=args.steps or step.steps) for step in PRESETS[args.preset]]
    device = trained.classifier.weight.device
    directions = trained.strength**0.5 * sample_directions(trained.statistics, labels, count).to(device)
    with functions_of(trained, generator, args.range) as (paint, encode):

        def render(inputs: Tensor) -> Tensor:
            return to_network(trained, paint(inputs))

        images = to_network(trained, original.to(device))
        features = encode(images).detach()
        targets = (features.unsqueeze(1) + directions).flatten(0, 1)
        z, values = invert(
            render,
            encode,
            features.repeat_interleave(starts, 0),
            torch.randn(len(original) * starts, args.latent, device=device),
            descent=steps[0],
            images=images.repeat_interleave(starts, 0),
            eta=args.eta,
        )
        z = z.unflatten(0, (-1, starts))[torch.arange(len(original)), values.view(-1, starts).argmin(1)]
        moved, _ = invert(render, encode, targets, z.repeat_interleave(count, 0), descent=steps[1])
        mapped = {}
        for name, inputs, wanted in (('found', z, features), ('augmented', moved, targets)):
            mapped[name] = paint(standardize(inputs)).detach()
            made = encode(to_network(trained, mapped[name])).detach()
            mapped[f'{name}_error'] = (made - wanted).square().sum(1)
    mapped |= {name: mapped[name].unflatten(0, (-1, count)) for name in ('augmented', 'augmented_error')}
    mapped['augmentation'] = directions.square().sum(2)
    return {name: tensor.cpu() for name, tensor in mapped.items()}


def summarize(mapped: dict[str, Tensor], scale: Tensor) -> dict[str, Tensor]:
    """Return errors that tell whether the inversion worked: features over ``scale`` (K,), pixels in gray levels."""
    difference = mapped['found'].clamp(0, 255) - mapped['original']
    return dict(
        step_1_feature_error=mapped['found_error'] / scale,
        step_1_pixel_error=difference.square().flatten(1).mean(1).sqrt(),
        step_2_feature_error=mapped['augmented_error'] / scale[:, None],
        augmentation=mapped['augmentation'] / scale[:, None],
    )


def class_distance(features: Tensor, labels: Tensor) -> Tensor:
    """Return the (C,) mean squared distance of two features of a class, which errors are measured by."""
    distances = torch.zeros(int(labels.max()) + 1)
    for label in labels.unique():
        distances[label] = 2 * features[labels == label].var(0).sum()
    return distances


def nearest_images(images: Tensor, pool: Tensor, count: int = NEIGHBORS) -> Tensor:
    """Return the (N, count) images of a pool that are nearest to some (N, ...), pixel by pixel (Fig. 14)."""
    parts = [torch.cdist(images.flatten(1).float(), part.flatten(1).float()) for part in pool.split(4096)]
    return torch.cat(parts, 1).topk(min(count, len(pool)), largest=False).indices


def draw(case: Case, numbers: dict[str, Any], pictures: dict[str, Tensor]) -> Figure:
    """Draw a row for each image: itself, step I, step II, and the images nearest to the first augmented one."""
    rows, count = pictures['augmented'].shape[:2]
    neighbors = pictures['neighbors'].shape[1]
    columns = 2 + count + neighbors
    figure = Figure(figsize=(0.76 * columns + 0.6, 0.96 * rows + 0.8))
    axes = figure.subplots(rows, columns, squeeze=False)
    titles = ['original', 'step I', *['augmented'] * count, *(f'nearest {rank + 1}' for rank in range(neighbors))]
    for place, title in zip(axes[0], titles, strict=True):
        place.set_title(title, fontsize=8, loc='center')
    for row, name in enumerate(numbers['classes']):
        axes[row, 0].set_ylabel(name, rotation=0, ha='right', va='center')
        images = [pictures[kind][row] for kind in ('original', 'found')]
        images += [*pictures['augmented'][row], *pictures['neighbors'][row]]
        errors = [numbers['step_1_feature_error'][row], *numbers['step_2_feature_error'][row]]
        notes = ['', *(f'{100 * float(error):.2g} %' for error in errors), *[''] * neighbors]
        for place, title, image, note in zip(axes[row], titles, images, notes, strict=True):
            color = COLORS[0] if title == 'augmented' else 'black'
            show_image(place, as_picture(image, case.trained.cfg), note, color=color)
    figure.supxlabel(
        'Below: squared error of the feature, in % of the mean squared distance of two features of the class.\n'
        'Nearest: real images nearest to the first augmented one.',
        fontsize=9,
    )
    return figure
