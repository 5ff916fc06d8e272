"""What the benchmarks share: interleaved timing, peak memory of a process, and a line about the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch


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
        allocator='tuned' if 'MALLOC_TOP_PAD_' in os.environ else 'default',
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
    """MB that a call needs at its peak beyond what is there before it.

    To be asked once in a process of its own (see :func:`in_own_process`): what an allocator keeps from an earlier call
    would hide what a later one takes.
    """
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
    """Runs a benchmark's own script again with other arguments; its last line of output is the figure."""
    run = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=300)
    if run.returncode:
        raise RuntimeError(f'{script} {" ".join(arguments)} failed:\n{run.stderr}')
    return float(run.stdout.split()[-1])


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
