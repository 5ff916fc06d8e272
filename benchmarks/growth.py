"""How the parts of ISDA grow with the classes, the features, the image size and the number of processes.

Milliseconds of the statistics' update, of the table with its gradient, and of the fused loss with its gradient, and the
size of the statistics; then what the processes send one another in an iteration.

    python benchmarks/growth.py [--runs 9] [--json FILE]
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from measure import describe, interleaved, machine, parser_of, progress, summary, write_json
from workload import device, ignore_index, street_labels

from mmseg_isda.core import ClassCovariance, fused_cross_entropy, logit_shift, resize_labels

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


def parts(classes: int, features: int, low: int, kind: str) -> dict:
    """Name: call; beside the statistics, which the caller asks for their size."""
    torch.manual_seed(0)
    ignored = ignore_index(classes)
    labels = street_labels(IMAGES, classes, 8 * low)
    small = resize_labels(labels, (low, low))
    maps = torch.randn(IMAGES, features, low, low, device=device())
    logits = torch.randn(IMAGES, classes, low, low, device=device(), requires_grad=True)
    weight = torch.randn(classes, features, device=device(), requires_grad=True)
    statistics = ClassCovariance(classes, features, kind).to(device())
    present = statistics.update(maps, small, ignored).nonzero().squeeze(1)

    def table() -> None:
        logit_shift(weight, statistics.covariance, 1.0, classes=present).sum().backward()

    shift = torch.rand(classes, classes, device=device(), requires_grad=True)
    return {
        'statistics': lambda: statistics.update(maps, small, ignored),
        'table': table,
        'loss': lambda: fused_cross_entropy(
            logits, labels, shift, align_corners=False, ignore_index=ignored
        ).backward(),
        'size': sum(buffer.numel() * buffer.element_size() for buffer in statistics.buffers()),
    }


def measure(runs: int) -> dict:
    """Prints a table for each axis and kind and returns the figures."""
    results, begin, done = {}, time.time(), 0
    total = 2 * sum(len(values) for values in AXES.values())
    for kind in ('diagonal', 'full'):
        for axis, values in AXES.items():
            title = f'{axis}, {kind}'
            print(f'\n{title:24} {"statistics ms":>14} {"table ms":>10} {"loss ms":>10} {"statistics MB":>14}')
            results[title] = {}
            for value in values:
                done += 1
                settings = {**DEFAULT, 'kind': kind, axis: value}
                if kind == 'full' and 4 * settings['classes'] * settings['features'] ** 2 > FULL_MATRICES_MB << 20:
                    continue
                calls = parts(**settings)
                size = calls.pop('size') / 2**20
                figures = {name: summary(times)._asdict() for name, times in interleaved(calls, runs).items()}
                medians = [figures[name]['median'] for name in ('statistics', 'table', 'loss')]
                print('{:24} {:14.1f} {:10.1f} {:10.1f} {:14.2f}'.format(value, *medians, size), flush=True)
                results[title][value] = figures | {'statistics_mb': size}
                progress(done, total, begin, 'sizes')
    return results


def exchange(rank: int, ranks: int, folder: str, runs: int) -> None:
    """One of the processes that pool their statistics; the first writes down what it saw."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=ranks)
    sent = watch_messages()
    lines = []
    for classes, features, kind, shape in EXCHANGES:
        statistics = ClassCovariance(classes, features, kind)
        batch = (torch.randn(shape[0], features, *shape[1:]), torch.randint(0, classes, shape))
        statistics.update(*batch)  # the first exchanges sizes, too
        sent.clear()
        times = interleaved({'update': lambda s=statistics, b=batch: s.update(*b)}, runs)['update']
        calls = runs + 2
        lines.append(f'{sum(sent) / calls} {len(sent) / calls} {summary(times).median}')
    dist.destroy_process_group()
    if rank == 0:
        Path(folder, 'figures').write_text('\n'.join(lines))


def watch_messages() -> list[int]:
    """A list that gets the bytes of each message that this process gives to a collective."""
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
    """Prints what a process sends in one update, and its time; 256 pixels or images a process."""
    print(f'\n{"statistics":34} {"processes":>9} {"messages":>9} {"bytes":>12} {"update ms":>10}')
    results = {}
    for ranks in RANKS:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(exchange, (ranks, folder, runs), nprocs=ranks)
            lines = Path(folder, 'figures').read_text().splitlines()
        for (classes, features, kind, shape), line in zip(EXCHANGES, lines, strict=True):
            size, calls, ms = (float(part) for part in line.split())
            name = f'C{classes} A{features} {kind}, {"images" if len(shape) == 1 else "pixels"}'
            print(f'{name:34} {ranks:9} {calls:9.0f} {size:12,.0f} {ms:10.1f}', flush=True)
            results.setdefault(name, {})[ranks] = {'bytes': size, 'messages': calls, 'ms': ms}
    return results


def main() -> None:
    parser = parser_of(__doc__, allocators=False)
    parser.add_argument('--only', choices=('sizes', 'ranks'), help='one of the two parts alone')
    options = parser.parse_args()
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    torch.set_num_threads(options.threads)
    info = machine()
    print(describe(info))
    figures = {'machine': info}
    if options.only != 'ranks':
        figures['results'] = measure(options.runs)
    if options.only != 'sizes':
        figures['ranks'] = measure_ranks(options.runs)
    write_json(options.json, figures)


if __name__ == '__main__':
    main()
