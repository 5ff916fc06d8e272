"""The classification demo: a small ResNet on few handwritten digits, with cross entropy and with ISDA, over seeds.

    python -m demo.classification

The digits come with scikit-learn; nothing is downloaded. It trains a pair of networks for each seed, two side by side,
and writes work_dirs/demo_classification/report.html: paired differences with their interval, curves and the digits that
the networks get wrong. Called again, it repeats nothing and resumes a training that was stopped.
"""

from __future__ import annotations

import sys

from .compare import Comparison, make_parser, plan
from .steps import REPOSITORY, run_demo, run_steps

CONFIGS = REPOSITORY / 'configs' / 'digits' / 'few'

COMPARISON = Comparison(
    configs=(CONFIGS / 'resnet8_10-labels.py', CONFIGS / 'resnet8_isda_10-labels.py'),
    length=('train_cfg.max_epochs', 'epoch'),
    pictures=32,
    title='A ResNet with cross entropy and with ISDA, ten labels a digit',
    note='Every seed has its own labeled digits and is tested on the others of the same half of all digits; the other '
    'half is where lambda_0 was chosen.',
)


def main() -> None:
    args = make_parser(__doc__, work_dir='work_dirs/demo_classification', seeds=24).parse_args()
    run_steps(plan(args, COMPARISON), args.work_dir / 'logs')
    print((args.work_dir / 'runs' / 'sweep.md').read_text(encoding='utf-8'))
    print(f'Open {args.work_dir / "report.html"} in a browser.')


if __name__ == '__main__':
    sys.exit(run_demo(main))
