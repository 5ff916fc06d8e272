"""What the fused loss costs beside up-sampling + cross entropy, forward and backward: time and peak memory.

The loss alone, from logits at feature size to their gradient, by the sizes of the paper's Cityscapes crops (97x97 ->
769x769, 19 classes) and of ADE20K crops (64x64 -> 512x512, 150 classes). Plain cross entropy spends most of its time in
page faults under the default allocator of glibc, so it is measured with a tuned one as well.

    python benchmarks/fused_loss.py [--runs 9] [--sizes N2C19 ...] [--allocators default tuned] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import describe, in_own_process, interleaved, machine, paired_ratio, peak_memory, summary, write_json
from torch import Tensor

from mmseg_isda.core.fused import fused_cross_entropy
from mmseg_isda.core.losses import isda_cross_entropy

SIZES = {
    'N1C19': (1, 19, 97, 769, True),
    'N2C19': (2, 19, 97, 769, True),
    'N1C150': (1, 150, 64, 512, False),
    'N2C150': (2, 150, 64, 512, False),
}
TUNED = {
    'MALLOC_MMAP_THRESHOLD_': '2147483648',
    'MALLOC_TRIM_THRESHOLD_': '8589934592',
    'MALLOC_TOP_PAD_': '268435456',
}
CLASSES_IN_AN_IMAGE = 16
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


def blocks(images: int, classes: int, size: int) -> Tensor:
    """Labels in blocks of one class, 16 classes an image, a tenth of the blocks ignored."""
    maps = []
    for _ in range(images):
        present = torch.randperm(classes)[:CLASSES_IN_AN_IMAGE]
        coarse = present[torch.randint(0, len(present), (1, 1, 12, 12))].float()
        coarse[torch.rand_like(coarse) < 0.1] = 255
        maps.append(F.interpolate(coarse, size=(size, size))[0, 0].long())
    return torch.stack(maps)


def step(name: str, images: int, classes: int, low: int, high: int, align_corners: bool) -> Callable[[], None]:
    """A call that runs forward and backward once."""
    function, with_shift, options = LOSSES[name]
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    logits = torch.randn(images, classes, low, low, device=device, requires_grad=True)
    shift = torch.rand(classes, classes, device=device, requires_grad=True) if with_shift else None
    labels = blocks(images, classes, high).to(device)

    def call() -> None:
        logits.grad = None
        if shift is not None:
            shift.grad = None
        function(logits, labels, shift, align_corners=align_corners, **options).backward()

    return call


def print_peak(size: str, name: str) -> None:
    images, classes, _, _, align_corners = SIZES[size]
    call = step(name, *SIZES[size])
    # What libraries allocate once must not count.
    step(name, images, classes, 8, 16, align_corners)()
    print(peak_memory(call))


def measure(sizes: list[str], runs: int) -> dict:
    """Prints a table for each size and returns the figures."""
    results, begin = {}, time.time()
    for done, size in enumerate(sizes):
        memory = {name: in_own_process(__file__, '--peak', size, name) for name in LOSSES}
        times = interleaved({name: step(name, *SIZES[size]) for name in LOSSES}, runs)
        print(f'\n{size:26} {"ms":>8} {"(low to high)":>18} {"ratio (low to high)":>22} {"peak MB":>8} {"ratio":>6}')
        results[size] = {}
        for name in LOSSES:
            timing, ratio = summary(times[name]), paired_ratio(times[name], times[BASE])
            share = memory[name] / memory[BASE]
            print(
                f'{name:26} {timing.median:8.1f} {f"({timing.low:.1f} to {timing.high:.1f})":>18} '
                f'{f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})":>22} {memory[name]:8.0f} {share:6.2f}'
            )
            results[size][name] = {
                'ms': times[name],
                'ratio': ratio._asdict(),
                'peak_mb': memory[name],
                'memory_ratio': share,
            }
        left = (time.time() - begin) / (done + 1) * (len(sizes) - done - 1)
        print(f'[{done + 1} of {len(sizes)} sizes, about {left:.0f} s left]', file=sys.stderr, flush=True)
    return results


def run_with(allocator: str, arguments: list[str]) -> dict:
    """Runs this script again under an allocator, which glibc sets up only when a process begins."""
    environment = {name: value for name, value in os.environ.items() if name not in TUNED}
    environment |= TUNED if allocator == 'tuned' else {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, 'figures.json')
        command = [sys.executable, __file__, *arguments, '--worker', str(target)]
        subprocess.run(command, env=environment, check=True)
        return json.loads(target.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--runs', type=int, default=9, help='timed runs of each loss')
    parser.add_argument('--sizes', nargs='+', choices=SIZES, default=list(SIZES))
    parser.add_argument('--allocators', nargs='+', choices=('default', 'tuned'), default=['default', 'tuned'])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--json', help='file to write the figures to')
    parser.add_argument('--peak', nargs=2, metavar=('SIZE', 'LOSS'), help='print the peak memory of one loss in MB')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(*options.peak)
    elif options.worker:
        info = machine()
        print(describe(info), flush=True)
        Path(options.worker).write_text(json.dumps({'machine': info, 'results': measure(options.sizes, options.runs)}))
    else:
        arguments = ['--runs', str(options.runs), '--threads', str(options.threads), '--sizes', *options.sizes]
        write_json(options.json, {name: run_with(name, arguments) for name in options.allocators})


if __name__ == '__main__':
    main()
