"""Tests a checkpoint; --protocols scores it as Table 7 of the paper does, at three protocols in one run."""

import argparse
import os
import sys

from mmengine.config import DictAction
from mmengine.runner import Runner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of logs (default: ./work_dirs/CONFIG)')
    parser.add_argument('--out', metavar='DIR', help='write predicted labels as PNG images (segmentation)')
    parser.add_argument('--show-dir', metavar='DIR', help='write predictions painted over the images')
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--tta', action='store_true', help="the config's test-time augmentation")
    mode.add_argument(
        '--protocols',
        action='store_true',
        help='single scale, multi-scale and multi-scale + flip: a table and JSON (segmentation)',
    )
    parser.add_argument(
        '--json', metavar='FILE', help='write the scores (with --protocols always: by default in the work dir)'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace results in --out, --show-dir and --json')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='settings to change')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    # torchrun passes the second spelling.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    from mmengine.dist import is_main_process

    from mmseg_isda.checkpoints.fit import check_weights
    from mmseg_isda.commands.launch import build_runner
    from mmseg_isda.commands.testing import prepare_testing, refuse_existing, use_tta, write_scores

    if args.json:
        refuse_existing(args.json, '--json', args.overwrite)
    cfg, notes = prepare_testing(
        args.config,
        args.checkpoint,
        work_dir=args.work_dir,
        out=args.out,
        show_dir=args.show_dir,
        overwrite=args.overwrite,
        options=args.cfg_options,
        launcher=args.launcher,
    )
    if args.protocols:
        from mmseg_isda.segmentation.protocols import score_table, use_protocols

        use_protocols(cfg)
    elif args.tta:
        use_tta(cfg)
    runner = build_runner(cfg, notes)
    check_weights(runner.model, args.checkpoint)
    scores = runner.test()
    if not is_main_process():
        return
    if args.protocols:
        print(score_table(scores))
    if args.protocols or args.json:
        path = args.json or os.path.join(runner.work_dir, runner.timestamp, 'protocols.json')
        kind = 'protocols' if args.protocols else 'metrics'
        write_scores(path, cfg, kind, scores, config=args.config, checkpoint=args.checkpoint, images=num_images(runner))
        print(f'scores written to {path}')


def num_images(runner: Runner) -> int:
    return len(runner.test_dataloader.dataset)


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
