"""What the benchmarks share: interleaved timing, peak memory of a process, and a line about the machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

# Settings of glibc's allocator with which it keeps its memory. By default it gives large blocks back, and a program
# that makes them anew each iteration spends much of its time in page faults.
TUNED = {
    'MALLOC_MMAP_THRESHOLD_': '2147483648',
    'MALLOC_TRIM_THRESHOLD_': '8589934592',
    'MALLOC_TOP_PAD_': '268435456',
}
ALLOCATORS = ('default', 'tuned')


class Timing(NamedTuple):
    """Milliseconds per call: median, and the lowest and highest of the runs."""

    median: float
    low: float
    high: float


def machine() -> dict[str, Any]:
    """The hardware, the versions and the settings that a figure depends on."""
    cpu = platform.processor() or platform.machine()
    info = Path('/proc/cpuinfo')
    if info.exists():
        names = [
            line.split(':', 1)[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')
        ]
        cpu = names[0] if names else cpu
    return dict(
        cpu=cpu,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        python=platform.python_version(),
        torch=torch.__version__,
        triton=version('triton') if find_spec('triton') else None,
        allocator='tuned' if TUNED.items() <= os.environ.items() else 'default',
    )


def describe(info: Mapping[str, Any]) -> str:
    """One line for people."""
    device = info['gpu'] or f'{info["cpu"]}, {info["threads"]} of {info["cores"]} threads'
    return f'{device}; Python {info["python"]}, torch {info["torch"]}, {info["allocator"]} allocator'


def interleaved(calls: Mapping[str, Callable[[], Any]], runs: int, warmup: int = 2) -> dict[str, list[float]]:
    """Milliseconds of each run of each call, in turn, so that a drift of the machine's speed hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(warmup + runs):
        for name, call in calls.items():
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            if run >= warmup:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def summary(times: list[float]) -> Timing:
    return Timing(statistics.median(times), min(times), max(times))


def paired_ratio(times: list[float], base: list[float]) -> Timing:
    """Median, lowest and highest of the ratios run by run."""
    return summary([a / b for a, b in zip(times, base, strict=True)])


def peak_memory(call: Callable[[], Any]) -> float:
    """MB that a call needs at its peak beyond what is there before it; a first call, not measured, warms up.

    To be asked once in a process of its own (see :func:`in_own_process`): what an allocator keeps from an earlier call
    would hide what a later one takes.
    """
    call()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Writing 5 sets the high-water mark back to what is resident now.
    Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmRSS')
    call()
    return (_status('VmHWM') - before) / 1024


def in_own_process(script: str, *arguments: str) -> float:
    """Runs a benchmark's own script again with other arguments; its last line of output is the figure.

    The allocator gives every tensor back at once there, so that resident memory is memory in use.
    """
    environment = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '0'}
    environment.pop('MALLOC_TOP_PAD_', None)
    command = [sys.executable, script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    if run.returncode:
        raise RuntimeError(f'{script} {" ".join(arguments)} failed:\n{run.stderr}')
    return float(run.stdout.split()[-1])


class Row(NamedTuple):
    """One line of a table: a variant beside the one that it is compared with.

    Attributes:
        times: milliseconds of each run, in the order of those of the other rows.
        peak_mb: peak memory of one run, or None.
    """

    times: list[float]
    peak_mb: float | None = None


def compare(rows: Mapping[str, Row], base: str, title: str, width: int = 34) -> dict[str, Any]:
    """Prints the rows with their ratios to ``base``, and returns the figures for a JSON file."""
    print(f'\n{title:{width}} {"ms":>9} {"ratio (low to high)":>22} {"peak MB":>9} {"ratio":>6}')
    figures = {}
    for name, row in rows.items():
        timing, ratio = summary(row.times), paired_ratio(row.times, rows[base].times)
        line = f'{name:{width}} {timing.median:9.1f} {f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})":>22}'
        figures[name] = {'ms': row.times, 'median_ms': timing.median, 'ratio': ratio._asdict()}
        if row.peak_mb is not None:
            share = row.peak_mb / rows[base].peak_mb
            line += f' {row.peak_mb:9.0f} {share:6.2f}'
            figures[name] |= {'peak_mb': row.peak_mb, 'memory_ratio': share}
        print(line, flush=True)
    return figures


def progress(done: int, total: int, begin: float, what: str) -> None:
    """One line on stderr: how much is done, and about how long the rest takes."""
    left = (time.time() - begin) / done * (total - done)
    print(f'[{done} of {total} {what}, about {left:.0f} s left]', file=sys.stderr, flush=True)


def parser_of(description: str, *, runs: int = 9, allocators: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description.split('\n')[0])
    parser.add_argument('--runs', type=int, default=runs, help='timed runs of each variant')
    parser.add_argument('--threads', type=int, default=2, help='threads of PyTorch')
    parser.add_argument('--json', help='file to write the figures to')
    if allocators:
        parser.add_argument('--allocators', nargs='+', choices=ALLOCATORS, default=list(ALLOCATORS))
        parser.add_argument('--worker', help=argparse.SUPPRESS)
    return parser


def run_with_allocators(options: argparse.Namespace, measure: Callable[[], Mapping[str, Any]]) -> None:
    """Measures under each allocator, in a process of its own, as glibc sets one up only when a process begins.

    Args:
        options: from :func:`parser_of`.
        measure: prints tables and returns figures.
    """
    if options.worker:
        info = machine()
        print('\n' + describe(info), flush=True)
        Path(options.worker).write_text(json.dumps({'machine': info, 'results': measure()}))
        return
    figures = {}
    for allocator in options.allocators:
        environment = {name: value for name, value in os.environ.items() if name not in TUNED}
        environment |= TUNED if allocator == 'tuned' else {}
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, 'figures.json')
            subprocess.run([sys.executable, *sys.argv, '--worker', str(target)], env=environment, check=True)
            figures[allocator] = json.loads(target.read_text())
    write_json(options.json, figures)


def _status(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1])


def write_json(path: str | None, content: Mapping[str, Any]) -> None:
    """Keeps the figures beside the table, if a path is given."""
    if path:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content, indent=2) + '\n')
        print(f'written: {target}')
