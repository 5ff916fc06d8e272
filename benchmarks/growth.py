"""How the parts of ISDA grow with the classes, the features, the image size and the number of processes.

Milliseconds of the statistics' update, of the table with its gradient, and of the fused loss with its gradient, and the
size of the statistics; then what the processes send one another in an iteration.

    python benchmarks/growth.py [--runs 9] [--json FILE]
"""

from __future__ import annotations

import os
import time

import torch
import torch.distributed as dist
from measure import Call, describe, interleaved, machine, parser_of, progress, summary, timer, write_json
from processes import run_ranks
from workload import ignore_index, street_labels

from mmseg_isda.core import ClassCovariance, fused_cross_entropy, resize_labels

DEFAULT = dict(classes=19, features=512, low=64, kind='diagonal')
IMAGES = 2
# What is varied, and its values; the rest is DEFAULT.
AXES = {
    'classes': (10, 19, 50, 150, 500, 1000),
    'features': (128, 256, 512, 1024, 2048),
    'low': (32, 64, 97, 129),
}
FULL_MATRICES_MB = 1024  # the largest full statistics that are tried
RANKS = (1, 2, 4)
PIXELS, IMAGES_OF_A_CLASSIFIER = (1, 16, 16), (256,)
EXCHANGES = (
    (19, 512, 'diagonal', PIXELS),
    (19, 512, 'full', PIXELS),
    (150, 512, 'diagonal', PIXELS),
    (150, 512, 'full', PIXELS),
    (100, 640, 'full', IMAGES_OF_A_CLASSIFIER),
    (1000, 2048, 'diagonal', IMAGES_OF_A_CLASSIFIER),
)


def parts(classes: int, features: int, low: int, kind: str, device: str) -> tuple[dict[str, Call], float]:
    """Return the calls to measure, and the MB of the statistics."""
    torch.manual_seed(0)
    ignored = ignore_index(classes)
    labels = street_labels(IMAGES, classes, 8 * low, device)
    small = resize_labels(labels, (low, low))
    maps = torch.randn(IMAGES, features, low, low, device=device)
    logits = torch.randn(IMAGES, classes, low, low, device=device, requires_grad=True)
    weight = torch.randn(classes, features, device=device, requires_grad=True)
    shift = torch.rand(classes, classes, device=device, requires_grad=True)
    statistics = ClassCovariance(classes, features, kind).to(device)
    present = statistics.update(maps, small, ignored).nonzero().squeeze(1)

    def loss() -> None:
        fused_cross_entropy(logits, labels, shift, align_corners=False, ignore_index=ignored).backward()

    calls = {
        'statistics': lambda: statistics.update(maps, small, ignored),
        'table': lambda: statistics.shift(weight, 1.0, present).sum().backward(),
        'loss': loss,
    }
    return calls, sum(buffer.numel() * buffer.element_size() for buffer in statistics.buffers()) / 2**20


def measure_axis(axis: str, kind: str, runs: int, device: str) -> dict:
    """Print the table of one axis and return its figures; full matrices beyond ``FULL_MATRICES_MB`` are left out."""
    title = f'{axis}, {kind}'
    print(f'\n{title:24} {"statistics ms":>14} {"table ms":>10} {"loss ms":>10} {"statistics MB":>14}')
    results = {}
    for value in AXES[axis]:
        settings = {**DEFAULT, 'kind': kind, axis: value}
        if kind == 'full' and 4 * settings['classes'] * settings['features'] ** 2 > FULL_MATRICES_MB << 20:
            continue
        calls, size = parts(**settings, device=device)
        times = {name: summary(values) for name, values in interleaved(calls, runs, device).items()}
        medians = [times[name].median for name in ('statistics', 'table', 'loss')]
        print('{:24} {:14.1f} {:10.1f} {:10.1f} {:14.2f}'.format(value, *medians, size), flush=True)
        results[value] = {name: timing._asdict() for name, timing in times.items()} | {'statistics_mb': size}
    return results


def measure(runs: int, device: str) -> dict:
    """Print a table for each axis and kind and return the figures."""
    results, begin = {}, time.time()
    tables = [(axis, kind) for kind in ('diagonal', 'full') for axis in AXES]
    for done, (axis, kind) in enumerate(tables, 1):
        results[f'{axis}, {kind}'] = measure_axis(axis, kind, runs, device)
        progress(done, len(tables), begin, 'tables')
    return results


def exchange(rank: int, device: str, runs: int) -> list[tuple[int, int, float]]:
    """Pool statistics with the other ranks; return bytes and messages of an update, and its milliseconds."""
    sent, found = watch_messages(), []
    for classes, features, kind, shape in EXCHANGES:
        statistics = ClassCovariance(classes, features, kind)
        batch = (torch.randn(shape[0], features, *shape[1:]), torch.randint(0, classes, shape))

        def update(statistics: ClassCovariance = statistics, batch: tuple = batch) -> None:
            statistics.update(*batch)

        update()  # the first exchanges sizes, too
        sent.clear()
        update()
        size, messages = sum(sent), len(sent)
        found.append((size, messages, summary([timer(device)(update, 1) for _ in range(runs)]).median))
    return found


def watch_messages() -> list[int]:
    """Return a list that gets the bytes of each message that this process gives to a collective."""
    sent: list[int] = []
    reduce, gather = dist.all_reduce, dist.all_gather

    def all_reduce(tensor: torch.Tensor) -> None:
        sent.append(tensor.numel() * tensor.element_size())
        reduce(tensor)

    def all_gather(parts: list[torch.Tensor], tensor: torch.Tensor) -> None:
        sent.append(tensor.numel() * tensor.element_size())
        gather(parts, tensor)

    dist.all_reduce, dist.all_gather = all_reduce, all_gather
    return sent


def measure_ranks(runs: int) -> dict:
    """Print what a process sends in one update, and its time; 256 pixels or images a process."""
    print(f'\n{"statistics":34} {"processes":>9} {"messages":>9} {"bytes":>12} {"update ms":>10}')
    results: dict = {}
    for ranks in RANKS:
        seen = run_ranks(exchange, ranks, runs)[0]
        for (classes, features, kind, shape), (size, messages, ms) in zip(EXCHANGES, seen, strict=True):
            name = f'C{classes} A{features} {kind}, {"images" if len(shape) == 1 else "pixels"}'
            print(f'{name:34} {ranks:9} {messages:9} {size:12,} {ms:10.1f}', flush=True)
            results.setdefault(name, {})[ranks] = {'bytes': size, 'messages': messages, 'ms': ms}
    return results


def main() -> None:
    """Run one part or both."""
    parser = parser_of(__doc__)
    parser.add_argument('--only', choices=('sizes', 'ranks'), help='one of the two parts alone')
    options = parser.parse_args()
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    torch.set_num_threads(options.threads)
    info = machine(options.device)
    print(describe(info))
    figures = {'machine': info}
    if options.only != 'ranks':
        figures['results'] = measure(options.runs, options.device)
    if options.only != 'sizes':
        figures['ranks'] = measure_ranks(options.runs)
    write_json(options.json, figures)


if __name__ == '__main__':
    main()
