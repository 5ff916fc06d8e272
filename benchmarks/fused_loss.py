"""What the fused loss costs beside up-sampling + cross entropy, forward and backward: time and peak memory.

The loss alone, from logits at feature size to their gradient, by the sizes of the paper's Cityscapes crops (97x97 ->
769x769, 19 classes) and of ADE20K crops (64x64 -> 512x512, 150 classes). Plain cross entropy spends most of its time in
page faults under the default allocator of glibc, so it is measured with a tuned one as well.

    python benchmarks/fused_loss.py [--runs 9] [--sizes N2C19 ...] [--allocators default tuned] [--json FILE]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import Row, compare, in_own_process, interleaved, parser_of, peak_memory, progress, run_with_allocators
from torch import Tensor
from workload import Size, device, street_labels

from mmseg_isda.core import fused_cross_entropy, isda_cross_entropy

BASE = 'resize + cross entropy'


def plain(logits: Tensor, labels: Tensor, shift: Tensor | None, *, align_corners: bool, **options) -> Tensor:
    """The unfused way: the up-sampled logits are made, as MMSegmentation's heads do."""
    up = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    return isda_cross_entropy(up, labels, shift, feature_size=logits.shape[2:], align_corners=align_corners, **options)


def plain_with_accuracy(logits: Tensor, labels: Tensor, shift: None, *, align_corners: bool) -> Tensor:
    """The same with the accuracy as MMSegmentation takes it."""
    up = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    up.detach().topk(1, dim=1)[1].squeeze(1).eq(labels)[labels != 255].float().sum()
    return isda_cross_entropy(up, labels, None)


def fused(logits: Tensor, labels: Tensor, shift: Tensor | None, **options) -> Tensor:
    """The fused loss; its accuracy is dropped if it was asked for."""
    result = fused_cross_entropy(logits, labels, shift, **options)
    return result[0] if isinstance(result, tuple) else result


# name: (function, whether there is a shift, options)
LOSSES = {
    BASE: (plain, False, {}),
    'table, at features': (plain, True, {'augment_at': 'feature'}),
    'table, at labels': (plain, True, {'augment_at': 'label'}),
    'fused, no shift': (fused, False, {}),
    'fused, at features': (fused, True, {'augment_at': 'feature'}),
    'fused, at labels': (fused, True, {'augment_at': 'label'}),
    'resize + ce + accuracy': (plain_with_accuracy, False, {}),
    'fused, at features, acc.': (fused, True, {'augment_at': 'feature', 'return_accuracy': True}),
    'fused, at labels, acc.': (fused, True, {'augment_at': 'label', 'return_accuracy': True}),
}


def step(name: str, size: Size) -> Callable[[], None]:
    """A call that runs forward and backward once."""
    function, with_shift, options = LOSSES[name]
    torch.manual_seed(0)
    logits = torch.randn(size.images, size.classes, size.low, size.low, device=device(), requires_grad=True)
    shift = torch.rand(size.classes, size.classes, device=device(), requires_grad=True) if with_shift else None
    labels = street_labels(size.images, size.classes, size.high)

    def call() -> None:
        logits.grad = None
        if shift is not None:
            shift.grad = None
        function(logits, labels, shift, align_corners=size.align_corners, **options).backward()

    return call


def measure(sizes: list[Size], runs: int) -> dict:
    """Prints a table for each size and returns the figures."""
    results, begin = {}, time.time()
    for done, size in enumerate(sizes, 1):
        peaks = {name: in_own_process(__file__, '--peak', str(size), name) for name in LOSSES}
        times = interleaved({name: step(name, size) for name in LOSSES}, runs)
        results[str(size)] = compare({name: Row(times[name], peaks[name]) for name in LOSSES}, BASE, str(size))
        progress(done, len(sizes), begin, 'sizes')
    return results


def main() -> None:
    parser = parser_of(__doc__)
    sizes = [Size(images, classes) for classes in (19, 150) for images in (1, 2)]
    parser.add_argument('--sizes', nargs='+', type=Size.parse, default=sizes, help='e.g. N2C19')
    parser.add_argument('--peak', nargs=2, metavar=('SIZE', 'LOSS'), help='print the peak memory of one loss in MB')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_memory(step(options.peak[1], Size.parse(options.peak[0]))))
    else:
        run_with_allocators(options, lambda: measure(options.sizes, options.runs))


if __name__ == '__main__':
    main()
