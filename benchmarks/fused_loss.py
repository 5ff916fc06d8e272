"""What the fused loss costs beside up-sampling + cross entropy, from logits at feature size to their gradient.

Sizes of the paper's Cityscapes crops (97x97 -> 769x769, 19 classes) and of ADE20K crops (64x64 -> 512x512, 150
classes). Plain cross entropy spends most of its time in page faults under the default allocator of glibc, so on the CPU
it is measured with a tuned one as well.

    python benchmarks/fused_loss.py [--cases N2C19 ...] [--variants ...] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measure import Benchmark, Call, main_of
from torch import Tensor
from workload import Size, street_labels

from mmseg_isda.core import fused_cross_entropy, isda_cross_entropy


def plain(logits: Tensor, labels: Tensor, shift: Tensor | None, *, align_corners: bool, **options: Any) -> Tensor:
    """The unfused way: the up-sampled logits are made, as MMSegmentation's heads do."""
    up = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    return isda_cross_entropy(up, labels, shift, feature_size=logits.shape[2:], align_corners=align_corners, **options)


def plain_with_accuracy(logits: Tensor, labels: Tensor, shift: None, *, align_corners: bool) -> Tensor:
    """The same with the accuracy as MMSegmentation takes it."""
    up = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    up.detach().topk(1, dim=1)[1].squeeze(1).eq(labels)[labels != 255].float().sum()
    return isda_cross_entropy(up, labels, None)


def fused(logits: Tensor, labels: Tensor, shift: Tensor | None, **options: Any) -> Tensor:
    """The fused loss; its accuracy is dropped if it was asked for."""
    result = fused_cross_entropy(logits, labels, shift, **options)
    return result[0] if isinstance(result, tuple) else result


# name: (function, whether there is a shift, options)
VARIANTS: dict[str, tuple[Callable[..., Tensor], bool, dict[str, Any]]] = {
    'resize + cross entropy': (plain, False, {}),
    'table, at features': (plain, True, {'augment_at': 'feature'}),
    'table, at labels': (plain, True, {'augment_at': 'label'}),
    'fused, no shift': (fused, False, {}),
    'fused, at features': (fused, True, {'augment_at': 'feature'}),
    'fused, at labels': (fused, True, {'augment_at': 'label'}),
    'resize + cross entropy + accuracy': (plain_with_accuracy, False, {}),
    'fused, at features, with accuracy': (fused, True, {'augment_at': 'feature', 'return_accuracy': True}),
    'fused, at labels, with accuracy': (fused, True, {'augment_at': 'label', 'return_accuracy': True}),
}


def step(case: str, variant: str, device: str) -> Call:
    """Return a call that runs a loss forward and backward once; the case is a size such as ``N2C19``."""
    size, (function, with_shift, options) = Size.parse(case), VARIANTS[variant]
    torch.manual_seed(0)
    logits = torch.randn(size.images, size.classes, size.low, size.low, device=device, requires_grad=True)
    shift = torch.rand(size.classes, size.classes, device=device, requires_grad=True) if with_shift else None
    labels = street_labels(size.images, size.classes, size.high, device)

    def call() -> None:
        logits.grad = None
        if shift is not None:
            shift.grad = None
        function(logits, labels, shift, align_corners=size.align_corners, **options).backward()

    return call


BENCHMARK = Benchmark(__file__, step, lambda case: list(VARIANTS), ('N2C19', 'N2C150'))

if __name__ == '__main__':
    main_of(BENCHMARK, __doc__)
