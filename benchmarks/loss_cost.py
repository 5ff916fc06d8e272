"""What ISDASegLoss costs beside CrossEntropyLoss: time and peak memory of a decode head's last steps.

Measured is all that differs: classifier, up-sampling, statistics, table and loss, forward and backward, at the paper's
size (features 97x97x512, labels 769x769, 19 classes, two images).

    python benchmarks/loss_cost.py [--runs 9] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure import describe, in_own_process, interleaved, machine, paired_ratio, peak_memory, summary, write_json
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_isda  # noqa: F401
from mmseg_isda.engine import bind_isda_losses

SIZES = {'N1C19': (1, 19, 97, 769), 'N2C19': (2, 19, 97, 769)}
LOSSES = {
    'cross entropy': dict(type='CrossEntropyLoss'),
    'ISDA, lambda_0=0': dict(type='ISDASegLoss', lambda_0=0),
    'ISDA, diagonal, at features': dict(type='ISDASegLoss'),
    'ISDA, diagonal, at labels': dict(type='ISDASegLoss', augment_at='label'),
    'ISDA, full, at features': dict(type='ISDASegLoss', covariance='full'),
}
FEATURES = 512


class Head(nn.Module):
    """The part of a decode head from the classifier on."""

    align_corners = True

    def __init__(self, num_classes: int, loss: dict) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(FEATURES, num_classes, 1)
        self.loss_decode = MODELS.build(loss)

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.conv_seg(features)
        logits = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=True)
        return self.loss_decode(logits, labels, ignore_index=255)


def labels_like_a_street(images: int, classes: int, size: int) -> torch.Tensor:
    """Blocks of one class, a fifth of them ignored."""
    blocks = torch.randint(0, classes, (images, 1, 24, 24)).float()
    blocks[torch.rand_like(blocks) < 0.2] = 255
    return F.interpolate(blocks, size=(size, size))[:, 0].long()


def step(loss: dict, images: int, classes: int, low: int, high: int) -> Callable[[], None]:
    """A call that runs forward and backward once."""
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    head = Head(classes, loss).to(device).train()
    for bound in bind_isda_losses(head).values():
        bound.strength = 3.75
    features = torch.randn(images, FEATURES, low, low, device=device, requires_grad=True)
    labels = labels_like_a_street(images, classes, high).to(device)

    def call() -> None:
        head.zero_grad()
        features.grad = None
        head(features, labels).backward()

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--runs', type=int, default=9, help='timed runs of each loss')
    parser.add_argument('--sizes', nargs='+', choices=SIZES, default=list(SIZES))
    parser.add_argument('--json', help='file to write the figures to')
    parser.add_argument('--peak', nargs=2, metavar=('SIZE', 'LOSS'), help='print the peak memory of one loss in MB')
    options = parser.parse_args()
    init_default_scope('mmseg')
    if options.peak:
        size, loss = options.peak
        print(peak_memory(step(LOSSES[loss], *SIZES[size])))
        return
    info = machine()
    print(describe(info))
    results = {}
    for size in options.sizes:
        memory = {name: in_own_process(__file__, '--peak', size, name) for name in LOSSES}
        times = interleaved({name: step(loss, *SIZES[size]) for name, loss in LOSSES.items()}, options.runs)
        print(f'\n{size:28} {"ms":>8} {"ratio (low to high)":>22} {"peak MB":>8} {"ratio":>6}')
        results[size] = {}
        for name in LOSSES:
            ratio = paired_ratio(times[name], times['cross entropy'])
            share = memory[name] / memory['cross entropy']
            print(
                f'{name:28} {summary(times[name]).median:8.0f} {ratio.median:8.2f} '
                f'({ratio.low:.2f} to {ratio.high:.2f}) {memory[name]:8.0f} {share:6.2f}'
            )
            results[size][name] = dict(ms=times[name], ratio=ratio._asdict(), peak_mb=memory[name], memory_ratio=share)
    write_json(options.json, dict(machine=info, results=results))


if __name__ == '__main__':
    main()
