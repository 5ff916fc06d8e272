"""Several processes against one on the joined batch: NCCL where there are two cards, gloo on the CPU."""

from __future__ import annotations

import torch
import torch.distributed as dist
from processes import run_ranks
from torch import Tensor

from mmseg_isda.core import ISDACriterion, new_statistics

from . import NOT_TRIED, Report, Settings, Verdict, judged
from .literal import IGNORED, KINDS

CLAIMS = {'ranks': 'Two ranks hold the statistics of one process on the joined batch, and have its gradient.'}
RANKS, BATCHES = 2, 3
CLASSES, SIZE = 7, 16
TOLERANCE = 2e-6


def _batches(shape: str) -> list[list[tuple[Tensor, Tensor]]]:
    """Return batches of each rank, of different length; one class is on the first rank alone."""
    torch.manual_seed(0)
    made = []
    for number in range(BATCHES):
        made.append([])
        for rank in range(RANKS):
            length = 8 + 4 * number + 3 * rank
            size = (length, SIZE) if shape == 'vectors' else (2, SIZE, length, 5)
            labels = torch.randint(rank, CLASSES, (length,) if shape == 'vectors' else (2, length, 5))
            made[-1].append((torch.randn(size) + 10, labels.masked_fill(torch.rand(labels.shape) < 0.1, IGNORED)))
    return made


def _flat(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return features.movedim(1, -1).flatten(0, -2), labels.flatten()


def _statistics_error(rank: int, kind: str, shape: str, device: str) -> float:
    """Return the largest difference of any buffer from one process on the joined batches, relative to its largest."""
    own = new_statistics(kind, CLASSES, SIZE, rank=SIZE).to(device)
    joined = new_statistics(kind, CLASSES, SIZE, rank=SIZE, sync=False).to(device)
    for batch in _batches(shape):
        own.update(*(tensor.to(device) for tensor in batch[rank]), IGNORED)
        parts = zip(*(_flat(*part) for part in batch), strict=True)
        joined.update(*(torch.cat(part).to(device) for part in parts), IGNORED)
    found, truth = own.matrices().double(), joined.matrices().double()
    errors = [(found - truth).abs().max() / truth.abs().max(), (own.mean - joined.mean).abs().max() / 10]
    return max(float(error) for error in errors) if torch.equal(own.count, joined.count) else float('inf')


def _gradient_error(rank: int, device: str) -> float:
    """Return the same for the gradient of the classifier, averaged over ranks as DistributedDataParallel does."""
    torch.manual_seed(0)
    features, labels = torch.randn(RANKS, 12, SIZE), torch.randint(0, CLASSES, (RANKS, 12))
    grads = []
    for sync in (True, False):
        torch.manual_seed(1)
        classifier = torch.nn.Linear(SIZE, CLASSES).to(device)
        criterion = ISDACriterion(classifier, 1.0, covariance='full', sync=sync)
        x, y = (features[rank], labels[rank]) if sync else (features.flatten(0, 1), labels.flatten())
        criterion(classifier(x.to(device)), y.to(device), progress=1.0).backward()
        grads.append(classifier.weight.grad)
    dist.all_reduce(grads[0])
    return float((grads[0] / RANKS - grads[1]).abs().max() / grads[1].abs().max())


def _errors(rank: int, device: str) -> dict[str, float]:
    cases = {f'{kind}, {shape}': (kind, shape) for kind in KINDS for shape in ('vectors', 'maps')}
    errors = {name: _statistics_error(rank, *case, device) for name, case in cases.items()}
    return errors | {'gradient': _gradient_error(rank, device)}


def run(settings: Settings) -> Report:
    """Compare both ranks with one process."""
    if settings.device == 'cuda' and torch.cuda.device_count() < RANKS:
        return Report({'ranks': Verdict(NOT_TRIED, f'{torch.cuda.device_count()} card; NCCL needs {RANKS}')})
    errors = run_ranks(_errors, RANKS, device=settings.device)
    worst = {name: max(part[name] for part in errors) for name in errors[0]}
    name = max(worst, key=worst.get)
    return Report({'ranks': judged(worst[name] <= TOLERANCE, f'worst: {name}, {worst[name]:.1e}')}, worst)
