"""What a decode head costs with ISDA beside plain cross entropy: from the classifier on, as MMSegmentation runs it.

Measured is all that differs: classifier, up-sampling, statistics, table, loss and accuracy, forward and backward. The
naive term is Eq. 7 transcribed literally, with tensors of pixels x classes x features; left out where that is too much.

    python benchmarks/head_cost.py [--sizes N2C19 N2C150 N1C1000A256 ...] [--variants ...] [--runs 9] [--json FILE]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from measure import Row, compare, in_own_process, interleaved, parser_of, peak_memory, progress, run_with_allocators
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from workload import Size, device, ignore_index, street_labels

from mmseg_isda.core import ClassCovariance, isda_cross_entropy, resize_labels
from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.segmentation import FusedLossMixin

STRENGTH = 3.75
BASE = 'cross entropy'
NAIVE = 'naive term'
# name: (head hands over its logits, loss)
VARIANTS = {
    BASE: (False, dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    'ISDA': (False, dict(type='ISDASegLoss')),
    'ISDA, fused head': (True, dict(type='ISDASegLoss')),
    'ISDA at labels': (False, dict(type='ISDASegLoss', augment_at='label')),
    'ISDA at labels, fused head': (True, dict(type='ISDASegLoss', augment_at='label')),
    'ISDA full': (False, dict(type='ISDASegLoss', covariance='full')),
    'ISDA full, fused head': (True, dict(type='ISDASegLoss', covariance='full')),
    'fused cross entropy, fused head': (True, dict(type='FusedCrossEntropyLoss')),
    NAIVE: (False, dict(type='NaiveISDALoss')),
}


@MODELS.register_module()
class NaiveISDALoss(torch.nn.Module):
    """Eq. 7 written out for each pixel; the statistics are the project's."""

    loss_name = 'loss_naive'

    def __init__(self) -> None:
        super().__init__()
        self.statistics: ClassCovariance | None = None

    def bind(self, classifier: torch.nn.Conv2d) -> None:
        self.classifier = [classifier]  # in a list, so that it is no submodule
        self.statistics = ClassCovariance(*classifier.weight.shape[:2])
        classifier.register_forward_hook(lambda module, inputs, output: setattr(self, 'seen', (inputs[0], output)))

    def forward(self, cls_score: Tensor, label: Tensor, weight: None = None, ignore_index: int = 255) -> Tensor:
        features, logits = self.seen
        low = resize_labels(label, features.shape[2:])
        self.statistics.update(features, low, ignore_index)
        shift = naive_term(self.classifier[0].weight.flatten(1), self.statistics.covariance, low, ignore_index)
        shifted = (logits + shift.view(*low.shape, -1).movedim(-1, 1)).float()
        up = torch.nn.functional.interpolate(
            shifted, size=label.shape[1:], mode='bilinear', align_corners=bool(label.shape[1] % 2)
        )
        return isda_cross_entropy(up, label, None, ignore_index=ignore_index, avg_non_ignore=True)


def naive_term(weight: Tensor, variance: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """(P, C) shifts by tensors of (P, C, A)."""
    labels = labels.flatten()
    valid = labels != ignore_index
    labels = labels.masked_fill(~valid, 0)
    difference = weight.unsqueeze(0) - weight[labels].unsqueeze(1)
    term = STRENGTH / 2 * (difference.square() * variance[labels].unsqueeze(1)).sum(2)
    return term * valid.unsqueeze(1)


class Head(BaseDecodeHead):
    """The part of a decode head from the classifier on."""

    def forward(self, inputs: tuple[Tensor]) -> Tensor:
        return self.cls_seg(inputs[0])


class FusedHead(FusedLossMixin, Head):
    pass


def step(name: str, size: Size) -> Callable[[], None]:
    """A call that runs forward and backward once."""
    torch.manual_seed(0)
    fused, loss = VARIANTS[name]
    options = dict(in_channels=size.features, channels=size.features, num_classes=size.classes, dropout_ratio=0)
    options.update(align_corners=size.align_corners, ignore_index=ignore_index(size.classes), loss_decode=dict(loss))
    head = (FusedHead if fused else Head)(**options).to(device()).train()
    for bound in bind_isda_losses(head).values():
        bound.strength = STRENGTH
    if name == NAIVE:
        head.loss_decode.bind(head.conv_seg)
    features = torch.randn(size.images, size.features, size.low, size.low, device=device(), requires_grad=True)
    labels = street_labels(size.images, size.classes, size.high)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]

    def call() -> None:
        head.zero_grad()
        features.grad = None
        losses = head.loss((features,), samples, None)
        sum(value for key, value in losses.items() if 'loss' in key).backward()

    return call


def naive_gb(size: Size) -> float:
    """About what the naive term takes, in GB: five tensors of pixels x classes x features at a time."""
    return 5 * 4 * size.images * size.low**2 * size.classes * size.features / 1e9


def measure(sizes: list[Size], variants: list[str], naive_limit: float, runs: int) -> dict:
    """Prints a table for each size and returns the figures."""
    results, begin = {}, time.time()
    for done, size in enumerate(sizes, 1):
        names = [name for name in variants if name != NAIVE or naive_gb(size) < naive_limit]
        peaks = {name: in_own_process(__file__, '--peak', str(size), name) for name in names}
        times = interleaved({name: step(name, size) for name in names}, runs)
        results[str(size)] = compare({name: Row(times[name], peaks[name]) for name in names}, BASE, str(size))
        if len(names) < len(variants):
            print(f'{NAIVE:34} left out: it would take about {naive_gb(size):.0f} GB (--naive-limit)')
        progress(done, len(sizes), begin, 'sizes')
    return results


def main() -> None:
    warnings.filterwarnings('ignore')
    parser = parser_of(__doc__)
    parser.add_argument('--sizes', nargs='+', type=Size.parse, default=[Size(2, 19), Size(2, 150)])
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        '--naive-limit', type=float, default=4, metavar='GB', help='memory that the naive term may take'
    )
    parser.add_argument('--peak', nargs=2, metavar=('SIZE', 'VARIANT'), help='print the peak memory of one in MB')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    init_default_scope('mmseg')
    if options.peak:
        print(peak_memory(step(options.peak[1], Size.parse(options.peak[0]))))
        return
    variants = [BASE, *(name for name in options.variants if name != BASE)]
    run_with_allocators(options, lambda: measure(options.sizes, variants, options.naive_limit, options.runs))


if __name__ == '__main__':
    main()
