"""How far low-rank covariances are from full ones, and what they cost at ImageNet's size.

Error: of the shift of the wrong classes' logits, root of the mean square relative to that of the full covariance, over
a stream of batches of correlated features with moving means whose k-th eigenvalue falls like k^-p; or over real
features, an .npz of `features` (N, A) and `labels` (N,). The classifier is the linear discriminant of those features.
Cost: statistics, table and gradient of one iteration, 1000 classes of 2048 features, 64 images.

    python benchmarks/low_rank.py [--ranks 4 8 16 32 64] [--features FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from measure import Row, compare, describe, in_own_process, interleaved, machine, parser_of, peak_memory, write_json
from torch import Tensor

from mmseg_isda.core import ClassCovariance, logit_shift
from mmseg_isda.core.low_rank import LowRankCovariance, low_rank_shift

CLASSES, SIZE, IMAGES, STEPS = 20, 256, 128, 200
IMAGENET = (1000, 2048, 64)
COST_VARIANTS = ('diagonal', 'low rank')


def synthetic(power: float) -> tuple[Tensor, Tensor]:
    """Features of each class with a basis of its own, non-negative as after a ReLU, their means on the move."""
    scale = torch.arange(1, SIZE + 1) ** (-power / 2)
    bases = torch.linalg.qr(torch.randn(CLASSES, SIZE, SIZE))[0]
    labels = torch.randint(0, CLASSES, (STEPS * IMAGES,))
    means = torch.randn(CLASSES, SIZE) * scale.square().sum().sqrt() / SIZE**0.5
    moved = means[labels] * torch.linspace(0.5, 1.5, len(labels)).unsqueeze(1)
    features = moved + torch.bmm((torch.randn(len(labels), 1, SIZE) * scale).float(), bases[labels]).squeeze(1)
    return features.relu(), labels


def batches(features: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(features.split(IMAGES), labels.split(IMAGES), strict=True)


def discriminant(features: Tensor, labels: Tensor, full: ClassCovariance) -> Tensor:
    """(C, A) weight of the linear discriminant analysis: class means times the inverse covariance within classes."""
    share = full.count / full.count.sum()
    within = torch.einsum('c,cab->ab', share, full.covariance)
    ridge = 1e-2 * within.diagonal().mean() * torch.eye(len(within))
    return torch.linalg.solve(within + ridge, full.mean.t()).t().contiguous()


def relative_error(shift: Tensor, exact: Tensor) -> float:
    return float((shift - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def errors(features: Tensor, labels: Tensor, ranks: list[int]) -> dict[str, float]:
    """Relative errors of the shift by kind of covariance."""
    num_classes, size = int(labels.max()) + 1, features.shape[1]
    full = ClassCovariance(num_classes, size, 'full')
    others = {f'rank {rank}': LowRankCovariance(num_classes, size, rank) for rank in ranks}
    for part, part_labels in batches(features, labels):
        for statistics in (full, *others.values()):
            statistics.update(part, part_labels)
    weight = discriminant(features, labels, full)
    exact = logit_shift(weight, full.covariance, 1.0)
    variance = full.covariance.diagonal(dim1=1, dim2=2).contiguous()
    found = {'diagonal': relative_error(logit_shift(weight, variance, 1.0), exact)}
    for name, statistics in others.items():
        shift = low_rank_shift(weight, statistics.factor, statistics.covariance, 1.0)
        found[name] = relative_error(shift, exact)
    return found


def measure_errors(ranks: list[int], path: str | None) -> dict[str, dict[str, float]]:
    """Prints a table of errors and returns it."""
    sources: dict[str, Callable] = {f'k^-{power:g}': lambda power=power: synthetic(power) for power in (0.5, 1.0, 2.0)}
    if path is not None:
        with np.load(path) as file:
            real = torch.from_numpy(file['features']).float(), torch.from_numpy(file['labels']).long()
        sources = {path: lambda: real}
    results = {}
    for name, source in sources.items():
        torch.manual_seed(0)
        begin = time.time()
        results[name] = errors(*source(), ranks)
        line = '  '.join(f'{kind} {error:.3f}' for kind, error in results[name].items())
        print(f'{name:12} {line}  ({time.time() - begin:.0f} s)', flush=True)
    return results


def cost_step(variant: str, rank: int) -> Callable[[], None]:
    """A call that makes the statistics, the rows and their gradient once."""
    num_classes, size, images = IMAGENET
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    weight = torch.randn(num_classes, size, device=device, requires_grad=True)
    features = torch.randn(images, size, device=device)
    labels = torch.randint(0, num_classes, (images,), device=device)
    if variant == 'diagonal':
        statistics = ClassCovariance(num_classes, size)
    else:
        statistics = LowRankCovariance(num_classes, size, rank)
    statistics.to(device)
    # Pages of the buffers that were never written to would count as memory of the call.
    for buffer in statistics.buffers():
        buffer += 0

    def call() -> None:
        weight.grad = None
        statistics.update(features, labels)
        classes = labels.unique()
        if variant == 'diagonal':
            rows = logit_shift(weight, statistics.covariance, 0.5, classes=classes)
        else:
            rows = low_rank_shift(weight, statistics.factor, statistics.covariance, 0.5, classes=classes)
        rows.sum().backward()

    return call


def measure_cost(options: argparse.Namespace) -> dict:
    """Prints time and memory of an iteration, and the size of the statistics."""
    num_classes, size, images = IMAGENET
    rank = str(options.rank)
    peaks = {name: in_own_process(__file__, '--peak', name, '--rank', rank) for name in COST_VARIANTS}
    times = interleaved({name: cost_step(name, options.rank) for name in COST_VARIANTS}, options.runs)
    rows = {name: Row(times[name], peaks[name]) for name in COST_VARIANTS}
    figures = compare(rows, 'diagonal', f'C={num_classes} A={size} N={images}, rank {options.rank}')
    vectors = {'diagonal': 2, 'low rank': 2 + options.rank, 'full': 1 + size}  # a class
    megabytes = {name: 4e-6 * num_classes * size * count for name, count in vectors.items()}
    print('statistics: ' + ', '.join(f'{name} {value:,.0f} MB' for name, value in megabytes.items()))
    return {'iteration': figures, 'statistics_mb': megabytes}


def main() -> None:
    parser = parser_of(__doc__, allocators=False)
    parser.add_argument('--ranks', nargs='+', type=int, default=[4, 8, 16, 32, 64], help='ranks whose error is taken')
    parser.add_argument('--rank', type=int, default=16, help='rank whose cost is taken')
    parser.add_argument('--features', metavar='FILE', help='.npz of real features, in place of made ones')
    parser.add_argument('--peak', choices=COST_VARIANTS, help='print the peak memory of one variant in MB')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_memory(cost_step(options.peak, options.rank)))
        return
    info = machine()
    print(describe(info))
    found = measure_errors(options.ranks, options.features)
    write_json(options.json, {'machine': info, 'errors': found, 'cost': measure_cost(options)})


if __name__ == '__main__':
    main()
