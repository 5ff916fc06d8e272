"""The demo: a small PSPNet on synthetic street scenes, with cross entropy and with ISDA, and a report on both.

    python tools/demo.py

It makes the images, trains both networks from the same seed on the same images in the same order, scores both at
single scale, multi-scale and multi-scale + flip, and writes work_dirs/demo/report.html. Each step is a command that
you can type yourself, and is shown. Called again, it repeats no finished step and resumes a training that was stopped.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mmengine.config import Config

TOOLS = Path(os.path.relpath(Path(__file__).resolve().parent))
CONFIGS = TOOLS.parent / 'configs' / 'street_scenes'
RUNS = {
    'cross_entropy': CONFIGS / 'pspnet_r18-d8_demo_street-scenes-128x256.py',
    'isda': CONFIGS / 'pspnet_r18-d8_isda_demo_street-scenes-128x256.py',
}
NAMES = {'cross_entropy': 'cross entropy', 'isda': 'ISDA'}
NOTE = (
    'One seed of a small network, trained from scratch for minutes on a few hundred synthetic images. It shows that '
    'everything works and what ISDA does while it trains; it is no evidence for or against ISDA.'
)
ITERATIONS, DATA_ROOT = 600, Path('data/street_scenes')  # as the configs have them
TRAIN_IMAGES, VAL_IMAGES = 240, 60
# Seconds of each kind of step on two cores; only their ratios matter once a step is done.
SECONDS = {'data': 15, 'start': 8, 'iteration': 0.2, 'score': 35, 'report': 12}
# What a line of MMEngine's log says beside loss, mIoU, lambda and augmentation size; the step's log file has it all.
DETAILS = re.compile(r'\s+(lr|eta|time|data_time|memory|aAcc|mAcc|\S*acc_seg|(decode|aux|auxiliary_head)\.\w+): \S+')
TABLE = r'^mIoU in|^---|\d\.\d\d(\s|$)|^report '  # the lines of tools/report.py, without the host's warnings
INTERVAL = 2.0  # seconds between two lines that tell how far a step is


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Args:
        title: What it does.
        command: What to run.
        output: The file that exists when it is done; None for a command that finds out by itself.
        seconds: How long it takes, about.
        shown: Which lines of its output are shown, of all that go to its log.
        progress: What its lines are like that tell how far it is: groups 1 and 2 are what is done and what there is.
        details: What of a line is not shown.
    """

    title: str
    command: Sequence[str]
    output: Path | None
    seconds: float
    shown: str
    progress: str = ''
    details: re.Pattern = DETAILS


def main() -> int:
    args = parse_args()
    try:
        check_settings(args)
        run_steps(plan(args), args.work_dir / 'logs')
    except (ValueError, RuntimeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    except KeyboardInterrupt:
        print('\nStopped. The same command goes on from here.', file=sys.stderr)
        return 130
    print(f'\nOpen {args.work_dir / "report.html"} in a browser.')
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: %(default)s')
    parser.add_argument('--data-root', type=Path, default=DATA_ROOT, help='default: %(default)s')
    parser.add_argument('--iters', type=int, default=ITERATIONS, help='of each training (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of weights and data order (default: %(default)s)')
    parser.add_argument('--train', type=int, default=TRAIN_IMAGES, help='training images (default: %(default)s)')
    parser.add_argument('--val', type=int, default=VAL_IMAGES, help='validation images (default: %(default)s)')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1, help='processes that make the images')
    args = parser.parse_args()
    for name in ('iters', 'train', 'val', 'jobs'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    return args


# --- what is done ----------------------------------------------------------------------------------------------------


def check_settings(args: argparse.Namespace) -> None:
    """Keep the settings of a demo beside its results, so that results of other settings are never taken for its own.

    Raises:
        ValueError: if the work dir holds a demo with other settings.
    """
    keys = ('iters', 'seed', 'train', 'val')
    settings = {key: getattr(args, key) for key in keys} | {'data_root': str(args.data_root)}
    configs = [Config.fromfile(path, import_custom_modules=False).to_dict() for path in RUNS.values()]
    settings['configs'] = hashlib.sha256(json.dumps(configs, sort_keys=True).encode()).hexdigest()[:16]
    path = args.work_dir / 'demo.json'
    if path.is_file():
        old = json.loads(path.read_text(encoding='utf-8'))
        other = [f'{key} {old.get(key)}, now {value}' for key, value in settings.items() if old.get(key) != value]
        if other:
            raise ValueError(
                f'{args.work_dir} holds a demo with other settings ({"; ".join(other)}): '
                'name another --work-dir, or delete it'
            )
    args.work_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + '\n', encoding='utf-8')


def plan(args: argparse.Namespace) -> list[Step]:
    """All steps in order."""
    data = [tool('make_street_scenes.py'), str(args.data_root), '--jobs', str(args.jobs)]
    data += ['--train', str(args.train), '--val', str(args.val)]
    make = Step(
        'Make the street scenes',
        python(data),
        None,
        SECONDS['data'],
        shown='made,|images,',
        progress=r'(\d+)/(\d+) made',
    )
    steps = [make, *(training(args, run) for run in RUNS), *(scoring(args, run) for run in RUNS)]
    command = [tool('report.py'), *(str(args.work_dir / run) for run in RUNS), '--names', 'Cross entropy', 'ISDA']
    command += ['--title', 'PSPNet with and without ISDA', '--note', NOTE]
    page = args.work_dir / 'report.html'
    command += ['--out', str(page)]
    return [*steps, Step('Write the report', python(command), page, SECONDS['report'], shown=TABLE)]


def training(args: argparse.Namespace, run: str) -> Step:
    folder = args.work_dir / run
    options = {}
    if args.iters != ITERATIONS:
        options = {'train_cfg.max_iters': args.iters, 'train_cfg.val_interval': max(1, args.iters // 6)}
        options['param_scheduler.0.end'] = args.iters
    if args.data_root != DATA_ROOT:
        options |= {f'{loader}_dataloader.dataset.data_root': args.data_root for loader in ('train', 'val', 'test')}
    command = [tool('train.py'), str(RUNS[run]), '--work-dir', str(folder), '--seed', str(args.seed)]
    command += ['--resume'] if (folder / 'last_checkpoint').is_file() else []
    command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())] if options else []
    return Step(
        f'Train with {NAMES[run]}',
        python(command),
        folder / f'iter_{args.iters}.pth',
        SECONDS['start'] + SECONDS['iteration'] * args.iters,
        shown=r'Iter\(train\)|mIoU:',
        progress=r'Iter\(train\) \[\s*(\d+)/(\d+)\]',
    )


def scoring(args: argparse.Namespace, run: str) -> Step:
    """Its own work dir: the config that a test leaves behind must not replace that of the training."""
    folder = args.work_dir / run
    command = [tool('test.py'), str(folder / RUNS[run].name), str(folder / f'iter_{args.iters}.pth'), '--protocols']
    command += ['--json', str(folder / 'scores.json'), '--work-dir', str(folder / 'test')]
    return Step(
        f'Score {NAMES[run]} at the three protocols',
        python(command),
        folder / 'scores.json',
        SECONDS['score'] * args.val / VAL_IMAGES,
        shown=r'Iter\(test\)|^\| (%|mIoU|mAcc|aAcc) ',
        progress=r'Iter\(test\) \[\s*(\d+)/(\d+)\]',
    )


def tool(name: str) -> str:
    return str(TOOLS / name)


def python(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, *arguments]


# --- how it is run ---------------------------------------------------------------------------------------------------


class Clock:
    """Share done and time left of the whole demo, by the steps' usual times and how fast this machine is."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds = list(seconds)
        self.start = time.monotonic()

    def text(self, step: int, fraction: float) -> str:
        done = sum(self.seconds[:step]) + fraction * self.seconds[step]
        total = sum(self.seconds)
        spent = time.monotonic() - self.start
        # Early on the usual time counts, later what this machine has needed.
        pace = (spent + 30) / (done + 30)
        minutes, seconds = divmod(round((total - done) * pace), 60)
        return f'{100 * done / total:3.0f} % done, {minutes}:{seconds:02d} left'


def run_steps(steps: Sequence[Step], logs: Path) -> None:
    """Run what is not done yet.

    Raises:
        RuntimeError: if a command fails.
    """
    logs.mkdir(parents=True, exist_ok=True)
    done = [step.output is not None and step.output.is_file() for step in steps]
    clock = Clock([0 if finished else step.seconds for step, finished in zip(steps, done, strict=True)])
    for index, step in enumerate(steps):
        head = f'[{index + 1}/{len(steps)}] {step.title}'
        if done[index]:
            print(f'{head}: done before ({step.output})', flush=True)
            continue
        shown = shlex.join(['python', *map(str, step.command[1:])])
        print(f'\n{head}   ({clock.text(index, 0.0)})\n    {shown}', flush=True)
        run_step(step, logs / f'{index + 1}.log', lambda fraction, i=index: clock.text(i, fraction))


def run_step(step: Step, log: Path, clock: Callable[[float], str]) -> None:
    """Run a command, with all its output in a log and the telling lines of it on the screen.

    Raises:
        RuntimeError: if the command fails, or does not leave what it should.
    """
    # Threads that spin while they wait for one another take ten times as long where other work shares the cores.
    environment: Mapping[str, str] = {'OMP_WAIT_POLICY': 'passive', **os.environ, 'PYTHONUNBUFFERED': '1'}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    with (
        log.open('w', encoding='utf-8') as file,
        subprocess.Popen(step.command, **pipes, env=environment) as process,
    ):
        try:
            last = follow(process.stdout, step, file, clock)
        except BaseException:
            process.terminate()  # by itself it ends only where Ctrl-C reaches the whole group
            process.wait()
            raise
    if process.returncode or (step.output and not step.output.is_file()):
        tail = ''.join(f'    {line}' for line in last)
        raise RuntimeError(f'{step.title.lower()} failed (status {process.returncode}); all of it: {log}\n{tail}')


def follow(lines: Iterable[str], step: Step, log: TextIO, clock: Callable[[float], str]) -> list[str]:
    """Write all lines to the log and show those that tell something, counts not too often; return the last ones."""
    fraction, shown_at, last = 0.0, 0.0, []
    for line in lines:
        log.write(line)
        last = [*last[-14:], line]
        count = re.search(step.progress, line) if step.progress else None
        if count:
            fraction = min(1.0, int(count[1]) / max(1, int(count[2])))
        if not line.strip() or not re.search(step.shown, line) or (count and time.monotonic() < shown_at + INTERVAL):
            continue
        text = step.details.sub('', re.sub(r'^.* - mmengine - INFO - ', '', line.rstrip()))
        if count:
            shown_at = time.monotonic()
            text += f'   ({clock(fraction)})'
        print(f'    {text}', flush=True)
    return last


if __name__ == '__main__':
    sys.exit(main())
