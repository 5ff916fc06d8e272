"""The segmentation demo: a small PSPNet on few drawn street scenes, with cross entropy and with ISDA, over seeds.

    python -m demo.segmentation

It draws the scenes, trains a pair of networks for each seed, two side by side, lets them predict the test images, and
writes work_dirs/demo/report.html: paired differences with their interval, curves and pictures. Each step is a command
that you can type yourself, and is shown. Called again, it repeats nothing and resumes a training that was stopped.
"""

from __future__ import annotations

import sys

from .compare import CONFIGS, Comparison, make_parser, plan
from .steps import Step, run_demo, run_steps

DATA_ROOT = 'data/scenes'  # as the configs have it
COMPARISON = Comparison(
    configs=(CONFIGS / 'scenes_pspnet.py', CONFIGS / 'scenes_pspnet_isda.py'),
    length=('train_cfg.max_iters', 'step'),
    pictures=4,
    title='PSPNet with cross entropy and with ISDA, few drawn street scenes',
    note='A small network, trained from random weights on few drawn images. What holds here need not hold on '
    'photographs or for pretrained networks.',
)


def main() -> None:
    parser = make_parser(__doc__, work_dir='work_dirs/demo', seeds=5)
    parser.add_argument('--data-root', default=DATA_ROOT, help='folder of the scenes (default: %(default)s)')
    args = parser.parse_args()
    draw = Step('Draw the street scenes', ['-m', 'demo.scenes', args.data_root, '--jobs', args.jobs])
    loaders = () if args.data_root == DATA_ROOT else ('train', 'val', 'test')
    options = [f'{loader}_dataloader.dataset.dataset.data_root={args.data_root}' for loader in loaders]
    run_steps([draw, *plan(args, COMPARISON, options)], args.work_dir / 'logs')
    print((args.work_dir / 'runs' / 'sweep.md').read_text(encoding='utf-8'))
    print(f'Open {args.work_dir / "report.html"} in a browser.')


if __name__ == '__main__':
    sys.exit(run_demo(main))
