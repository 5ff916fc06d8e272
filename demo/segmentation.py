"""The segmentation demo: a small PSPNet on few sheets of handwritten digits, cross entropy and ISDA over seeds.

    python -m demo.segmentation

It writes the sheets, trains a pair of networks for each seed, two side by side, lets them predict the test sheets, and
writes work_dirs/demo/report.html: paired differences with their interval, curves and pictures. Each step is a command
that you can type yourself, and is shown. Called again, it repeats nothing and resumes a training that was stopped.
"""

from __future__ import annotations

import sys

from .compare import CONFIGS, Comparison, make_parser, plan
from .steps import Step, run_demo, run_steps

DATA_ROOT = 'data/sheets'  # as the configs have it
COMPARISON = Comparison(
    configs=(CONFIGS / 'sheets_pspnet.py', CONFIGS / 'sheets_pspnet_isda.py'),
    length=('train_cfg.max_iters', 'step'),
    pictures=4,
    title='PSPNet with cross entropy and with ISDA, few sheets of handwritten digits',
    note='A small network, trained from random weights on four sheets. What holds here need not hold with another '
    'weight decay (docs/evidence.md), for networks that do not fit their training images, or for pretrained ones.',
)


def main() -> None:
    parser = make_parser(__doc__, work_dir='work_dirs/demo', seeds=5)
    parser.add_argument('--data-root', default=DATA_ROOT, help='folder of the sheets (default: %(default)s)')
    args = parser.parse_args()
    write = Step('Write the sheets', ['-m', 'demo.sheets', args.data_root])
    nodes = () if args.data_root == DATA_ROOT else ('train_dataloader.dataset', 'val_dataloader', 'test_dataloader')
    options = [f'{node}.dataset.data_root={args.data_root}' for node in nodes]
    run_steps([write, *plan(args, COMPARISON, options)], args.work_dir / 'logs')
    print((args.work_dir / 'runs' / 'sweep.md').read_text(encoding='utf-8'))
    print(f'Open {args.work_dir / "report.html"} in a browser.')


if __name__ == '__main__':
    sys.exit(run_demo(main))
