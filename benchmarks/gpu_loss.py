"""What the loss alone costs on a GPU, forward and backward: plain, banded, and by the experimental Triton kernels.

The time is that of many steps in a row, as in training, where the host runs ahead of the GPU. The gradients of the
Triton kernels are compared with those of the banded pass first, so that a wrong kernel cannot pass for a fast one.

    python benchmarks/gpu_loss.py [--runs 15] [--steps 100] [--sizes N2C19 N8C19 N16C150] [--json FILE]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from fused_loss import BASE, fused, plain, plain_with_accuracy
from measure import (
    Row,
    compare,
    describe,
    in_own_process,
    interleaved,
    machine,
    parser_of,
    peak_memory,
    progress,
    write_json,
)
from mmseg_isda.core.triton_pass import triton_available
from torch import Tensor
from workload import Size, device, street_labels

MAX_DIFFERENCE = 1e-5  # of gradients in float32, relative to the largest

# name: (function, whether there is a shift, options)
LOSSES = {
    BASE: (plain, False, {}),
    'table, at features': (plain, True, {'augment_at': 'feature'}),
    'table, at labels': (plain, True, {'augment_at': 'label'}),
    'resize + ce + accuracy': (plain_with_accuracy, False, {}),
}
for _kind in ('banded', 'triton'):
    LOSSES |= {
        f'{_kind}, no shift': (fused, False, {'implementation': _kind}),
        f'{_kind}, at features': (fused, True, {'implementation': _kind, 'augment_at': 'feature'}),
        f'{_kind}, at labels': (fused, True, {'implementation': _kind, 'augment_at': 'label'}),
        f'{_kind}, at features, acc.': (
            fused,
            True,
            {'implementation': _kind, 'augment_at': 'feature', 'return_accuracy': True},
        ),
    }


def step(name: str, size: Size, steps: int = 1) -> Callable[[], tuple[Tensor | None, Tensor | None]]:
    """A call that runs forward and backward ``steps`` times and returns the gradients of logits and shift."""
    function, with_shift, options = LOSSES[name]
    torch.manual_seed(0)
    logits = torch.randn(size.images, size.classes, size.low, size.low, device=device(), requires_grad=True)
    shift = torch.rand(size.classes, size.classes, device=device(), requires_grad=True)
    labels = street_labels(size.images, size.classes, size.high)

    def call() -> tuple[Tensor | None, Tensor | None]:
        for _ in range(steps):
            logits.grad = shift.grad = None
            result = function(
                logits, labels, shift if with_shift else None, align_corners=size.align_corners, **options
            )
            result.backward()
        return logits.grad, shift.grad

    return call


def print_peak(size: Size, name: str) -> None:
    call = step(name, size)
    # What libraries allocate once, and kernels that are compiled, must not count.
    call()
    print(peak_memory(call))


def difference(name: str, size: Size) -> float:
    """How far the gradients of a Triton variant are from those of its banded twin, relative to the largest."""
    pairs = zip(step(name, size)(), step(name.replace('triton', 'banded'), size)(), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs if b is not None)


def check(names: list[str], size: Size) -> dict[str, float]:
    """The differences of the Triton variants; a large one ends the benchmark."""
    found = {name: difference(name, size) for name in names if name.startswith('triton')}
    for name, value in found.items():
        if not value <= MAX_DIFFERENCE:
            raise SystemExit(f'{size}, {name}: the gradient is {value:.1e} off the banded one, more than rounding')
    return found


def measure(names: list[str], sizes: list[Size], runs: int, steps: int) -> dict:
    """Prints a table for each size and returns the figures."""
    results, begin = {}, time.time()
    for done, size in enumerate(sizes, 1):
        differences = check(names, size)
        peaks = {name: in_own_process(__file__, '--peak', str(size), name) for name in names}
        times = interleaved({name: step(name, size, steps) for name in names}, runs)
        rows = {name: Row(times[name], peaks[name]) for name in names}
        results[str(size)] = compare(rows, BASE, f'{size}, {steps} steps')
        for name, value in differences.items():
            results[str(size)][name]['difference'] = value
        progress(done, len(sizes), begin, 'sizes')
    return results


def main() -> None:
    parser = parser_of(__doc__, runs=15, allocators=False)
    parser.add_argument('--steps', type=int, default=100, help='forward and backward passes of a run')
    sizes = [Size(2, 19), Size(8, 19), Size(16, 150)]
    parser.add_argument('--sizes', nargs='+', type=Size.parse, default=sizes, help='e.g. N2C19')
    parser.add_argument('--peak', nargs=2, metavar=('SIZE', 'LOSS'), help='print the peak memory of one loss in MB')
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, 'this measures a GPU, and PyTorch finds none here; on a CPU run benchmarks/fused_loss.py\n')
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(Size.parse(options.peak[0]), options.peak[1])
        return
    names, info = list(LOSSES), machine()
    print(describe(info), flush=True)
    if not triton_available(torch.device('cuda')):
        print('Triton is not installed: its kernels are left out')
        names = [name for name in names if not name.startswith('triton')]
    content = {'machine': info, 'steps': options.steps}
    write_json(options.json, {**content, 'results': measure(names, options.sizes, options.runs, options.steps)})


if __name__ == '__main__':
    main()
