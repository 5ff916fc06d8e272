"""Choose lambda_0: train a config with several values and seeds, and compare the runs by their validation (Fig. 11).

    python tools/search_lambda.py CONFIG --work-dir work_dirs/search [--lambdas .1 .25 .5 .75 1] [--seeds 0 1 2]

The table and sensitivity.png say which value is best. Run it again to go on after an interruption.
"""

import argparse
import os
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a model with an ISDA loss')
    parser.add_argument('--work-dir', required=True, help='folder of the runs and of the results')
    parser.add_argument(
        '--lambdas',
        nargs='+',
        type=float,
        metavar='X',
        help='values of lambda_0; 0 is plain cross entropy (default: .1 .25 .5 .75 1)',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='N', help='seeds (default: 0)')
    parser.add_argument('--metric', help="validation metric (default: the toolkit's usual one, e.g. accuracy/top1)")
    parser.add_argument('--lower-is-better', action='store_true', help='the best score is the smallest')
    parser.add_argument(
        '--last', type=int, default=1, metavar='N', help='score: mean over the last N validations (default: 1)'
    )
    parser.add_argument(
        '--hold-out',
        type=int,
        metavar='N',
        help='MMPretrain: train without N of the training images, class by class, and validate on those (paper: 5000)',
    )
    parser.add_argument('--hold-out-seed', type=int, default=0, metavar='N', help='seed of that choice (default: 0)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='settings to change')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    from mmseg_isda.commands.launch import launched_rank
    from mmseg_isda.commands.search import DEFAULT_LAMBDAS, search_lambda

    def hold_out(cfg) -> None:
        from mmseg_isda.classification.holdout import use_hold_out

        use_hold_out(cfg, args.hold_out, args.hold_out_seed)

    result = search_lambda(
        args.config,
        work_dir=args.work_dir,
        lambdas=args.lambdas or DEFAULT_LAMBDAS,
        seeds=args.seeds,
        metric=args.metric,
        lower_is_better=args.lower_is_better,
        last=args.last,
        options=args.cfg_options,
        launcher=args.launcher,
        change=hold_out if args.hold_out is not None else None,
        say=lambda line: print(line, flush=True),
    )
    if launched_rank() == 0:
        print(result.table)
        print('written: ' + ', '.join(map(str, result.files)))


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
