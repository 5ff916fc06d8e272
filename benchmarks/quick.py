"""Runs the benchmarks whose tables stand in docs/performance.md, as `make benchmark`: 20 to 45 minutes on two cores.

python benchmarks/quick.py [--quick] [--out work_dirs/benchmarks] [--runs 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
STEPS = ['cross entropy', 'ISDA', 'ISDA, fused head', 'ISDA full, fused head', 'fused cross entropy, fused head']
R50 = ['pspnet_r50-2x256', 'deeplabv3_r50-2x256']
LONG = ['--runs', '3']  # seconds a run
# JSON file: script and what it is called with
TABLES = {
    'head_cost': ['head_cost', '--cases', 'N2C19', 'N2C150'],
    'fused_loss': ['fused_loss'],
    'train_step': ['train_step', '--cases', 'pspnet_r18-2x512', '--variants', *STEPS, *LONG],
    'train_step_r50': ['train_step', '--cases', *R50, '--variants', *STEPS[:3], *LONG],
    'growth': ['growth'],
    'classifier_head': ['head_cost', '--cases', 'resnet32', 'wrn-16-8', 'wrn-28-10', 'resnext29', 'resnet50'],
    'classifier_step': ['train_step', '--cases', 'resnet32'],
    'criterion': ['criterion', '--cases', 'N2C19'],
    'low_rank': ['low_rank', '--steps', '100'],
}
DEFAULT_ALLOCATOR_ALONE = ('train_step_r50', 'classifier_head', 'classifier_step', 'criterion')
# To try the benchmarks themselves, in three minutes.
TRIAL = {
    'head_cost': ['head_cost', '--cases', 'N1C5A8', '--variants', 'ISDA'],
    'fused_loss': ['fused_loss', '--cases', 'N1C5A8'],
    'train_step': ['train_step', '--cases', 'pspnet_r18-2x64', '--variants', 'ISDA'],
    'classifier_head': ['head_cost', '--cases', 'resnet32-8'],
    'criterion': ['criterion', '--cases', 'N1C5A8'],
}


def command_of(name: str, *, trial: bool, runs: int, out: Path) -> list[str]:
    """Return the command that makes one of the tables."""
    script, *arguments = (TRIAL if trial else TABLES)[name]
    if trial or name in DEFAULT_ALLOCATOR_ALONE:
        arguments += ['--allocators', 'default']
    if trial:
        arguments += ['--time-only']
    return [
        sys.executable,
        str(HERE / f'{script}.py'),
        '--runs',
        str(runs),
        *arguments,
        '--json',
        str(out / f'{name}.json'),
    ]


def main() -> None:
    """Run all of them, then draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmarks'), help='folder of figures and pictures')
    parser.add_argument('--runs', type=int, default=5, help='timed runs of each variant; three of a whole step')
    parser.add_argument('--quick', action='store_true', help='tiny sizes and one run, to try the benchmarks themselves')
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names, begin = list(TRIAL if options.quick else TABLES), time.time()
    for number, name in enumerate(names, 1):
        command = command_of(name, trial=options.quick, runs=1 if options.quick else options.runs, out=options.out)
        print(f'\n=== {number} of {len(names)}: {" ".join(command[1:])}', flush=True)
        started = time.time()
        subprocess.run(command, check=True)
        print(f'{time.time() - started:.0f} s; {(time.time() - begin) / 60:.0f} minutes so far')
    subprocess.run([sys.executable, str(HERE / 'report.py'), '--source', str(options.out)], check=True)


if __name__ == '__main__':
    main()
