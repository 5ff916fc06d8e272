"""Cost of the unlabeled term (Eq. 15) beside the cross entropy with soft targets, both with running statistics.

    python benchmarks/consistency.py [--device cuda] [--cases images pixels 'images, head' 'pixels, head'] [--json FILE]

'images': 256 unlabeled images, 100 classes, 128 features, after CNN-13 with a quarter of its channels, which has a
sixteenth of its cost; 'pixels': 2 images of 64x64 positions, 19 classes, 512 features, after one 3x3 convolution. So
the steps are cheaper than any real one. 'head' is without the network: classifier, statistics and term alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from measure import Benchmark, Call, main_of
from torch import Tensor, nn

from mmseg_isda.core import isda_consistency, new_statistics

STRENGTH = 0.25


class Case(NamedTuple):
    """Sizes of a step: classes, features, shape of the unlabeled batch, labeled samples, and the kind of covariance."""

    classes: int
    features: int
    unlabeled: tuple[int, ...]
    labeled: int
    kind: str


CASES = {
    'images': Case(100, 128, (256,), 128, 'full'),
    'pixels': Case(19, 512, (2, 64, 64), 8192, 'diagonal'),
}
VARIANTS = ('soft cross entropy', 'Eq. 15')


def network_of(name: str, case: Case) -> tuple[nn.Module, Tensor]:
    """Return what makes features, and its input."""
    if name == 'pixels':
        size, (number, *spatial) = case.features, case.unlabeled
        layers = nn.Conv2d(size, size, 3, padding=1, bias=False), nn.BatchNorm2d(size), nn.ReLU()
        return nn.Sequential(*layers), torch.randn(number, size, *spatial)
    from mmseg_isda.classification.networks import CNN13

    class Pooled(CNN13):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[0].mean((2, 3))

    return Pooled(widths=(32, 64, 128, 64, 128)), torch.randn(*case.unlabeled, 3, 32, 32)


def step(name: str, variant: str, device: str) -> Call:
    """Return a call that makes one step, forward and backward, and updates the statistics."""
    torch.manual_seed(0)
    base = name.removesuffix(', head')
    case = CASES[base]
    network, inputs = network_of(base, case)
    if base != name:
        network, inputs = nn.Identity(), torch.randn(case.unlabeled[0], case.features, *case.unlabeled[1:])
    is_map = len(case.unlabeled) > 1
    classifier = nn.Conv2d(case.features, case.classes, 1) if is_map else nn.Linear(case.features, case.classes)
    statistics = new_statistics(case.kind, case.classes, case.features).to(device)
    network, classifier, inputs = network.to(device), classifier.to(device), inputs.to(device).requires_grad_()
    features = torch.randn(case.labeled, case.features, device=device)
    labels = torch.randint(case.classes, (case.labeled,), device=device)

    def call() -> None:
        statistics.update(features, labels)
        logits = classifier(network(inputs))
        targets = logits.detach().softmax(1)
        if variant == VARIANTS[0]:
            loss = -(targets * logits.log_softmax(1)).sum(1).mean()
        else:
            loss = isda_consistency(logits, targets, classifier.weight.flatten(1), statistics, STRENGTH)
        loss.backward()
        for module in (network, classifier):
            module.zero_grad()
        inputs.grad = None

    return call


if __name__ == '__main__':
    names = (*CASES, *(f'{name}, head' for name in CASES))
    main_of(Benchmark(__file__, step, lambda case: VARIANTS, names), __doc__)
