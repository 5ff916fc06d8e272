"""Trains a model of MMSegmentation, MMPretrain or MMDetection; adds ISDAHook where the config uses an ISDA loss."""

import argparse
import os
import sys

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: ./work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='go on from a checkpoint; without PATH, from the newest one in the work dir, if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings of the config to change, e.g. optim_wrapper.optimizer.lr=0.02 crop_size="(512,512)"',
    )
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--seed', type=int, help='seed of everything random')
    # torchrun passes the second spelling.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    from mmseg_isda.commands.launch import build_runner, prepare_training
    from mmseg_isda.commands.resume import saying_where_to_resume

    cfg, notes = prepare_training(
        args.config,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        options=args.cfg_options,
        launcher=args.launcher,
        seed=args.seed,
    )
    with saying_where_to_resume(cfg):
        build_runner(cfg, notes).train()


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
