"""What ISDA costs in plain PyTorch: a classifier, its up-sampling and ``ISDACriterion``, forward and backward.

Sizes as in ``head_cost.py`` (``N2C19A512``), or vectors (``N64C1000A2048-vectors``). It needs PyTorch alone.

    python benchmarks/criterion.py [--cases N2C19 N64C1000A2048-vectors ...] [--variants ...] [--json FILE]
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from measure import Benchmark, Call, main_of
from torch import Tensor, nn
from workload import Size, street_labels, touch_buffers

from mmseg_isda.core import ISDACriterion

VARIANTS: dict[str, dict[str, Any] | None] = {
    'cross entropy': None,
    'ISDA, diagonal': dict(),
    'ISDA, diagonal, at labels': dict(augment_at='label'),
    'ISDA, full': dict(covariance='full'),
    'ISDA, low rank': dict(covariance='low_rank'),
}
IGNORED = -100
LARGEST_FULL = 1 << 30  # numbers in full covariances


def _parse(case: str) -> tuple[Size, bool]:
    return Size.parse(case.removesuffix('-vectors')), case.endswith('-vectors')


def variants(case: str) -> list[str]:
    """Return the losses to compare: full covariances where they fit, placements for maps."""
    size, of_vectors = _parse(case)
    names = list(VARIANTS)
    if of_vectors:
        names.remove('ISDA, diagonal, at labels')
    if size.classes * size.features**2 > LARGEST_FULL:
        names.remove('ISDA, full')
    return names


def step(case: str, variant: str, device: str) -> Call:
    """Return a call that runs classifier and loss forward and backward once."""
    torch.manual_seed(0)
    size, of_vectors = _parse(case)
    if of_vectors:
        classifier: nn.Module = nn.Linear(size.features, size.classes, device=device)
        features = torch.randn(size.images, size.features, device=device, requires_grad=True)
        labels = torch.randint(0, size.classes, (size.images,), device=device)
    else:
        classifier = nn.Conv2d(size.features, size.classes, 1, device=device)
        features = torch.randn(size.images, size.features, size.low, size.low, device=device, requires_grad=True)
        labels = street_labels(size.images, size.classes, size.high, device)
        labels = labels.masked_fill((labels < 0) | (labels >= size.classes), IGNORED)
    options = VARIANTS[variant]
    criterion = None if options is None else ISDACriterion(classifier, 1.0, **options)
    if criterion:
        touch_buffers(criterion)

    def loss(logits: Tensor) -> Tensor:
        if criterion:
            return criterion(logits, labels, progress=0.5)
        return F.cross_entropy(logits, labels)

    def call() -> None:
        classifier.zero_grad()
        features.grad = None
        logits = classifier(features)
        if not of_vectors:
            logits = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=size.align_corners)
        loss(logits).backward()

    return call


BENCHMARK = Benchmark(__file__, step, variants, ('N2C19', 'N64C1000A2048-vectors'))

if __name__ == '__main__':
    main_of(BENCHMARK, __doc__)
