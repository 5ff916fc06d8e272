"""The steps of a demo: commands that run one after the other, with a bar that tells how far each one is."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmseg_isda.commands.outcome import exit_on_sigterm, run_command
from mmseg_isda.errors import InterruptionError, UserError

REPOSITORY = Path(__file__).resolve().parents[1]
# Threads that spin while they wait for one another take ten times as long where other work shares the cores.
ENVIRONMENT = {'OMP_WAIT_POLICY': 'passive', 'PYTHONUNBUFFERED': '1'}
TAIL = 12  # lines of a failed command that are shown


class StepError(UserError):
    """A command of the demo that failed."""


@dataclass(frozen=True)
class Step:
    """One command of a demo.

    Attributes:
        title: what it does.
        command: words after ``python``.
        output: file that it writes last and whole, so that it is done where that exists; None for a command that finds
            out by itself what is left to do.
        progress: returns how much of it is done, from 0 to 1.
        threads: of each of its processes; None leaves it to PyTorch.
    """

    title: str
    command: Sequence[str | os.PathLike]
    output: Path | None = None
    progress: Callable[[], float] | None = None
    threads: int | None = 1


def run_steps(steps: Sequence[Step], logs: Path) -> None:
    """Run what is not done yet; all that a command prints goes to a log.

    Raises:
        StepError: if a command fails, or does not leave its output.
    """
    logs.mkdir(parents=True, exist_ok=True)
    console = Console()
    for number, step in enumerate(steps, start=1):
        title = f'[{number}/{len(steps)}] {step.title}'
        if step.output is not None and step.output.is_file():
            console.print(f'{title}: done before ({step.output})', markup=False)
            continue
        command = ['python', *map(str, step.command)]
        console.print(f'{title}\n    {shlex.join(command)}', markup=False, soft_wrap=True)
        _run(step, logs / f'{number}.log', console)


def _run(step: Step, log: Path, console: Console) -> None:
    paths = [str(REPOSITORY), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = {**os.environ, **ENVIRONMENT, 'PYTHONPATH': os.pathsep.join(paths)}
    if step.threads is not None:
        environment['OMP_NUM_THREADS'] = str(step.threads)
    command = [sys.executable, *map(str, step.command)]
    columns = (TextColumn('   '), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        log.open('w', encoding='utf-8') as file,
        Progress(*columns, console=console) as bar,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        task = bar.add_task(step.title, total=1.0 if step.progress else None)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                if step.progress:
                    bar.update(task, completed=min(1.0, step.progress()))
        except BaseException:
            process.terminate()  # by itself it ends only where Ctrl-C reaches the whole group
            raise
        bar.update(task, total=1.0, completed=1.0)
    if process.returncode or (step.output and not step.output.is_file()):
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()[-TAIL:]
        console.print('\n'.join(f'    {line}' for line in lines), markup=False)
        raise StepError(f'{step.title} failed (status {process.returncode}); all of it: {log}')


def trained(folders: Iterable[Path], result: str, total: tuple[str, int]) -> float:
    """Return how much of some trainings is done, from what they log.

    Args:
        folders: work dirs of the trainings.
        result: name of the file that ends a training.
        total: entry of the log that counts, such as ``'step'``, and its last value.
    """
    key, end = total
    shares = []
    for folder in folders:
        logs = sorted(folder.glob('*/vis_data/scalars.json'))
        rows = logs[-1].read_text(encoding='utf-8').splitlines() if logs else []
        done = [row.get(key, 0) for row in map(_parse, rows)]
        shares.append(1.0 if (folder / result).is_file() else max(done, default=0) / end)
    return sum(shares) / len(shares)


def _parse(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:  # a line that is being written
        return {}


def run_demo(main: Callable[[], None]) -> int:
    """Run a demo and return its exit status; say how to go on where it is stopped."""

    def run() -> None:
        try:
            main()
        except KeyboardInterrupt as error:
            raise InterruptionError('stopped; the same command goes on from here') from error

    with exit_on_sigterm():
        return run_command(run)
