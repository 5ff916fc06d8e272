"""Shared by the benchmarks: interleaved timing, peak memory, tables, the command line, and a line about the machine."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # Scripts run from a plain checkout, with nothing of it installed.

# Settings with which glibc keeps its memory. By default it gives large blocks back to the system, and a program that
# allocates them anew in each iteration spends much of its time in page faults.
TUNED = {
    'MALLOC_MMAP_THRESHOLD_': '2147483648',
    'MALLOC_TRIM_THRESHOLD_': '8589934592',
    'MALLOC_TOP_PAD_': '268435456',
}
ALLOCATORS = ('default', 'tuned')
HAS_GLIBC = platform.libc_ver()[0] == 'glibc'
CAN_SEE_MEMORY = Path('/proc/self/clear_refs').exists()
SHORTEST_RUN_MS, MOST_CALLS_A_RUN = 20.0, 50

Call = Callable[[], Any]


class Timing(NamedTuple):
    """Median, lowest and highest of several runs, in milliseconds or as a ratio."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.low:.2f} to {self.high:.2f})'


class Benchmark(NamedTuple):
    """Cases, each a table of variants.

    Attributes:
        script: file that runs it.
        step: returns the call that is measured, for a case, a variant and a device.
        variants: returns the names of the variants of a case; ratios are to the first.
        cases: names of the cases that are measured by default.
    """

    script: str
    step: Callable[[str, str, str], Call]
    variants: Callable[[str], Sequence[str]]
    cases: Sequence[str]


# The machine


def machine(device: str) -> dict[str, Any]:
    """Return the hardware, the versions and the settings that a figure depends on."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return dict(
        cpu=names[0] if names else platform.processor() or platform.machine(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if device == 'cuda' else None,
        cuda=torch.version.cuda if device == 'cuda' else None,
        system=platform.system(),
        python=platform.python_version(),
        torch=torch.__version__,
        allocator='tuned' if TUNED.items() <= os.environ.items() else 'default',
    )


def describe(info: Mapping[str, Any]) -> str:
    """Return one line for people."""
    cpu = f'{info["cpu"]}, {info["threads"]} of {info["cores"]} threads, {info["allocator"]} allocator'
    device = f'{info["gpu"]}, CUDA {info["cuda"]}' if info['gpu'] else cpu
    return f'{device}; {info["system"]}, Python {info["python"]}, torch {info["torch"]}'


def blind_spots(device: str) -> list[str]:
    """Return what this system cannot measure on the CPU, a sentence each."""
    if device == 'cuda':
        return []
    found = []
    if not CAN_SEE_MEMORY:
        found.append(f'Peak memory is left out: {platform.system()} has no /proc, where Linux shows it.')
    if not HAS_GLIBC:
        found.append('The tuned allocator is left out: its settings are those of glibc.')
    return found


# Time


def _clock(call: Call, calls: int) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return 1000 * (time.perf_counter() - start) / calls


def _events(call: Call, calls: int) -> float:
    """Return the milliseconds of one call on the current CUDA device, where the host may run ahead."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / calls


def timer(device: str) -> Callable[[Call, int], float]:
    """Return the function that times a number of calls on a device."""
    return _events if device == 'cuda' else _clock


def warm_up(call: Call, device: str) -> int:
    """Return how many calls make a run that is long enough to be timed, after a call or two to warm up."""
    first = timer(device)(call, 1)
    ms = first if first > 1000 else timer(device)(call, 1)
    return max(1, min(MOST_CALLS_A_RUN, math.ceil(SHORTEST_RUN_MS / ms)))


def interleaved(calls: Mapping[str, Call], runs: int, device: str) -> dict[str, list[float]]:
    """Time the calls in turn, so that a drift of the machine's speed hits all alike.

    Returns:
        Milliseconds of one call, for each of the ``runs`` of each name.
    """
    lengths = {name: warm_up(call, device) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            times[name].append(timer(device)(call, lengths[name]))
    return times


def summary(times: Sequence[float]) -> Timing:
    """Return median, lowest and highest."""
    return Timing(statistics.median(times), min(times), max(times))


def paired_ratio(times: Sequence[float], base: Sequence[float]) -> Timing:
    """Return median, lowest and highest of the ratios run by run."""
    return summary([a / b for a, b in zip(times, base, strict=True)])


# Memory


def peak_memory(call: Call, device: str) -> float:
    """Return the MB that a call needs at its peak beyond what is there before it, after a call to warm up.

    On the CPU to be asked once in a process of its own: what an allocator keeps from an earlier call would hide what a
    later one takes.
    """
    call()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Writing 5 sets the high-water mark back to what is resident now.
    Path('/proc/self/clear_refs').write_text('5')
    before = _status('VmRSS')
    call()
    return (_status('VmHWM') - before) / 1024


def _status(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1])


def _peak_in_own_process(benchmark: Benchmark, case: str, variant: str) -> float:
    """Return :func:`peak_memory` on the CPU, of a process whose allocator gives every tensor back at once."""
    environment = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '0'}
    environment.pop('MALLOC_TOP_PAD_', None)
    command = [sys.executable, benchmark.script, '--device', 'cpu', '--peak', case, variant]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    if run.returncode:
        raise RuntimeError(f'{" ".join(command[1:])} failed:\n{run.stderr}')
    return float(run.stdout.split()[-1])


# Tables


def measure_case(
    benchmark: Benchmark, case: str, *, variants: Sequence[str] = (), runs: int, device: str, memory: bool = True
) -> dict[str, Any]:
    """Print the table of one case and return its figures.

    Args:
        variants: those to measure beside the first; by default all.
        memory: measure the peak memory as well, where the system shows it.
    """
    base, *others = benchmark.variants(case)
    names = [base, *(name for name in others if not variants or name in variants)]
    peaks: dict[str, float] = {}
    if memory and device == 'cpu' and CAN_SEE_MEMORY:
        peaks = {name: _peak_in_own_process(benchmark, case, name) for name in names}
    calls = {name: benchmark.step(case, name, device) for name in names}
    if memory and device == 'cuda':
        peaks = {name: peak_memory(call, device) for name, call in calls.items()}
    return compare(case, interleaved(calls, runs, device), peaks)


def compare(title: str, times: Mapping[str, list[float]], peaks: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Print milliseconds and peak memory with their ratios to the first row, and return the figures."""
    base, width = next(iter(times)), max(map(len, (title, *times)))
    print(f'\n{title:{width}} {"ms":>9} {"ratio (low to high)":>22} {"peak MB":>9} {"ratio":>6}')
    figures = {}
    for name, values in times.items():
        ratio = paired_ratio(values, times[base])
        figures[name] = {'ms': values, 'median_ms': summary(values).median, 'ratio': ratio._asdict()}
        line = f'{name:{width}} {summary(values).median:9.1f} {ratio!s:>22}'
        if peaks:
            # A peak below 1 MB is too small for the system to show.
            peak, base_peak = (max(peaks[key], 1.0) for key in (name, base))
            figures[name] |= {'peak_mb': peak, 'memory_ratio': peak / base_peak}
            line += f' {peak:9.0f} {peak / base_peak:6.2f}'
        print(line, flush=True)
    return figures


def progress(done: int, total: int, begin: float, what: str) -> None:
    """Print on stderr how much is done, and about how long the rest takes."""
    left = (time.time() - begin) / done * (total - done)
    print(f'[{done} of {total} {what}, about {left:.0f} s left]', file=sys.stderr, flush=True)


def write_json(path: str | Path | None, content: Mapping[str, Any]) -> None:
    """Keep the figures beside the table, if a path is given."""
    if path:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
        print(f'written: {target}')


# The command line


def parser_of(description: str, *, runs: int = 9) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description.split('\n')[0])
    available = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', choices=('cuda', 'cpu'), default=available)
    parser.add_argument('--runs', type=int, default=runs, help='timed runs of each variant')
    parser.add_argument('--threads', type=int, default=2, help='threads of PyTorch')
    parser.add_argument('--json', metavar='FILE', help='where to write the figures')
    return parser


def main_of(benchmark: Benchmark, description: str) -> None:
    """Run a benchmark from the command line."""
    parser = parser_of(description)
    parser.add_argument('--cases', nargs='+', default=benchmark.cases, help='tables to make, e.g. %(default)s')
    parser.add_argument('--variants', nargs='+', default=(), help='rows to measure beside the first; by default all')
    parser.add_argument('--allocators', nargs='+', choices=ALLOCATORS, default=ALLOCATORS, help='of the CPU')
    parser.add_argument('--time-only', action='store_true', help='leave the memory out')
    parser.add_argument('--peak', nargs=2, metavar=('CASE', 'VARIANT'), help='print the peak memory of one in MB')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak_memory(benchmark.step(*options.peak, options.device), options.device))
    elif options.worker:
        _measure_cases(benchmark, options)
    else:
        _run_with_allocators(options)


def _measure_cases(benchmark: Benchmark, options: argparse.Namespace) -> None:
    info, results, begin = machine(options.device), {}, time.time()
    print('\n' + describe(info), flush=True)
    for done, case in enumerate(options.cases, 1):
        results[case] = measure_case(
            benchmark,
            case,
            variants=options.variants,
            runs=options.runs,
            device=options.device,
            memory=not options.time_only,
        )
        progress(done, len(options.cases), begin, 'tables')
    Path(options.worker).write_text(json.dumps({'machine': info, 'results': results}), encoding='utf-8')


def _run_with_allocators(options: argparse.Namespace) -> None:
    """Measure under each allocator, in a process of its own, as glibc sets one up only when a process begins."""
    print('\n'.join(blind_spots(options.device)))
    figures: dict[str, Any] = {}
    for allocator in options.allocators if HAS_GLIBC and options.device == 'cpu' else ('default',):
        environment = {name: value for name, value in os.environ.items() if name not in TUNED}
        environment |= TUNED if allocator == 'tuned' else {}
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, 'figures.json')
            arguments = ['--worker', str(target), *(['--time-only'] if figures else [])]  # Memory is measured once.
            subprocess.run([sys.executable, *sys.argv, *arguments], env=environment, check=True)
            figures[allocator] = json.loads(target.read_text(encoding='utf-8'))
    write_json(options.json, figures)
