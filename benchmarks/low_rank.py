"""How far the shifts of low-rank covariances are from those of full ones; ``criterion.py`` measures what they cost.

Error: of the shift of the wrong classes' logits, root of the mean square relative to that of the full covariance, over
a stream of batches of correlated features with moving means whose k-th eigenvalue falls like k^-p; or over real
features, an .npz of `features` (N, A) and `labels` (N,). The classifier is the linear discriminant of those features.

    python benchmarks/low_rank.py [--ranks 4 8 16 32 64] [--features FILE] [--json FILE]
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from measure import describe, machine, parser_of, write_json
from torch import Tensor

from mmseg_isda.core import ClassCovariance, new_statistics

CLASSES, SIZE, IMAGES, STEPS = 20, 256, 128, 200
POWERS = (0.5, 1.0, 2.0)
IMAGENET = (1000, 2048)  # classes and features, for the size of the statistics


def synthetic(power: float, steps: int) -> tuple[Tensor, Tensor]:
    """Return features of classes with a basis of their own, non-negative as after a ReLU, their means on the move."""
    torch.manual_seed(0)
    scale = torch.arange(1, SIZE + 1) ** (-power / 2)
    bases = torch.linalg.qr(torch.randn(CLASSES, SIZE, SIZE))[0]
    labels = torch.randint(0, CLASSES, (steps * IMAGES,))
    means = torch.randn(CLASSES, SIZE) * scale.square().sum().sqrt() / SIZE**0.5
    moved = means[labels] * torch.linspace(0.5, 1.5, len(labels)).unsqueeze(1)
    features = moved + torch.bmm((torch.randn(len(labels), 1, SIZE) * scale).float(), bases[labels]).squeeze(1)
    return features.relu(), labels


def batches(features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a training's batches."""
    return zip(features.split(IMAGES), labels.split(IMAGES), strict=True)


def discriminant(full: ClassCovariance) -> Tensor:
    """Return (C, A), the weight of the linear discriminant: class means times the inverse covariance within classes."""
    share = full.count / full.count.sum()
    within = torch.einsum('c,cab->ab', share, full.covariance)
    ridge = 1e-2 * within.diagonal().mean() * torch.eye(len(within))
    return torch.linalg.solve(within + ridge, full.mean.t()).t().contiguous()


def errors(features: Tensor, labels: Tensor, ranks: list[int]) -> dict[str, float]:
    """Return the relative errors of the shift, by kind of covariance."""
    shape = int(labels.max()) + 1, features.shape[1]
    full, diagonal = (new_statistics(kind, *shape) for kind in ('full', 'diagonal'))
    others = {'diagonal': diagonal} | {f'rank {rank}': new_statistics('low_rank', *shape, rank=rank) for rank in ranks}
    for batch in batches(features, labels):
        for statistics in (full, *others.values()):
            statistics.update(*batch)
    weight = discriminant(full)
    exact = full.shift(weight, 1.0)
    scale = exact.square().mean().sqrt()
    return {
        name: float((statistics.shift(weight, 1.0) - exact).square().mean().sqrt() / scale)
        for name, statistics in others.items()
    }


def main() -> None:
    """Print a table of errors, and the size of the statistics."""
    parser = parser_of(__doc__)
    parser.add_argument('--ranks', nargs='+', type=int, default=[4, 8, 16, 32, 64])
    parser.add_argument('--steps', type=int, default=STEPS, help='batches of made features')
    parser.add_argument('--features', metavar='FILE', help='.npz of real features, in place of made ones')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    info, results = machine('cpu'), {}
    print(describe(info))
    for name in [options.features] if options.features else [f'k^-{power:g}' for power in POWERS]:
        begin = time.time()
        if options.features:
            with np.load(name) as file:
                source = torch.from_numpy(file['features']).float(), torch.from_numpy(file['labels']).long()
        else:
            source = synthetic(float(name[3:]), options.steps)
        results[name] = errors(*source, options.ranks)
        line = '  '.join(f'{kind} {error:.3f}' for kind, error in results[name].items())
        print(f'{name:12} {line}  ({time.time() - begin:.0f} s)', flush=True)
    vectors = {'diagonal': 2, 'low rank 16': 2 + 16, 'full': 1 + IMAGENET[1]}  # a class
    sizes = {name: 4e-6 * IMAGENET[0] * IMAGENET[1] * number for name, number in vectors.items()}
    print('statistics of ImageNet: ' + ', '.join(f'{name} {size:,.0f} MB' for name, size in sizes.items()))
    write_json(options.json, {'machine': info, 'errors': results, 'statistics_mb': sizes})


if __name__ == '__main__':
    main()
