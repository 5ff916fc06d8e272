"""Runs the quick set of benchmarks and draws its plots: about 20 minutes on two cores. `make benchmark` calls it.

python benchmarks/quick.py [--out work_dirs/benchmarks] [--runs 9]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# name of the script: what it is called with
QUICK = {
    'head_cost': ['--sizes', 'N2C19', 'N2C150'],
    'fused_loss': ['--sizes', 'N2C19', 'N2C150'],
    'train_step': ['--networks', 'pspnet_r18'],
    'growth': [],
    'classification': ['--networks', 'resnet32'],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmarks'), help='folder of figures and pictures')
    parser.add_argument('--runs', type=int, default=9, help='timed runs of each variant')
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for number, (name, arguments) in enumerate(QUICK.items(), 1):
        print(f'\n=== {number} of {len(QUICK)}: benchmarks/{name}.py {" ".join(arguments)}', flush=True)
        begin = time.time()
        target = options.out / f'{name}.json'
        command = [sys.executable, str(HERE / f'{name}.py'), *arguments, '--runs', str(options.runs)]
        subprocess.run([*command, '--json', str(target)], check=True)
        print(f'{time.time() - begin:.0f} s')
    subprocess.run(
        [sys.executable, str(HERE / 'plots.py'), '--source', str(options.out), '--out', str(options.out)], check=True
    )


if __name__ == '__main__':
    main()
