"""Train a model of MMSegmentation, MMPretrain or MMDetection; ISDAHook is added where a config uses an ISDA loss."""

from __future__ import annotations

import importlib
import time
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..toolkits import toolkit_of
from .arguments import add_config_arguments, add_launcher_arguments, export_rank, parse_options
from .outcome import is_first, naming_unknown_types

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config_arguments(parser)
    parser.add_argument('--work-dir', help='folder of logs and checkpoints (default: ./work_dirs/CONFIG)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='go on from a checkpoint; without PATH, from the newest one in the work dir, if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--seed', type=int, help='seed of everything random')
    add_hold_out_arguments(parser)
    parser.add_argument(
        '--record', metavar='FILE', help='write the metrics of every validation as JSON when training is over'
    )
    parser.add_argument('--metric', help='stop at the first validation if it lacks this metric (with --record)')
    parser.add_argument('--test', action='store_true', help='score the test images too at the end (with --record)')
    parser.add_argument('--trial', help=SUPPRESS)  # a sweep's mark of the config
    add_launcher_arguments(parser)


def add_hold_out_arguments(parser: ArgumentParser) -> None:
    """Add the options that keep training images back for validation."""
    parser.add_argument(
        '--hold-out',
        type=int,
        metavar='N',
        help='MMPretrain: train without N of the training images, class by class, and validate on those (paper: 5000)',
    )
    parser.add_argument('--hold-out-seed', default='0', metavar='N', help='seed of that choice (default: 0)')


def run(args: Namespace) -> None:
    """Train."""
    from ..engine.validations import ValidationHistory, validations
    from .launch import build_runner, claim_work_dir
    from .preflight import check_output
    from .records import begin_trial, is_record, write_json
    from .resume import saying_where_to_resume

    export_rank(args)
    if args.record:
        check_output(args.record, '--record', replace=is_record(Path(args.record)))
    cfg, notes = configure(args)
    notes += claim_work_dir(cfg, args.resume, parse_options(args.cfg_options))
    if args.trial and is_first(args.launcher):
        begin_trial(Path(cfg.work_dir), args.trial)
    began = time.time()
    with saying_where_to_resume(cfg), naming_unknown_types(cfg):
        runner = build_runner(cfg, notes)
        if args.record:  # not by the config, which stays in the work dir to be tested
            runner.register_hook(ValidationHistory(args.metric))
        runner.train()
        tested = runner.test() if args.record and args.test else None
    if args.record and is_first(args.launcher):
        losses = runner.message_hub.log_scalars.get('train/loss')
        record = {'validations': validations(runner), 'test': tested, 'seconds': time.time() - began}
        record |= {'loss': losses.current()} if losses else {}
        write_json(Path(args.record), record)


def configure(args: Namespace) -> tuple[Config, list[str]]:
    """Return the config of a run, before a look at its work dir, and the notes for the log."""
    from .launch import prepare_training

    settings = {name: getattr(args, name) for name in ('work_dir', 'amp', 'launcher', 'seed')}
    cfg, notes = prepare_training(args.config, options=parse_options(args.cfg_options), **settings)
    if args.hold_out is not None:
        hold_out(cfg, args.hold_out, args.hold_out_seed)
    return cfg, notes


def hold_out(cfg: Config, images: int, seed: str) -> None:
    """Keep training images back for validation."""
    toolkit = toolkit_of(cfg)
    if toolkit.hold_out is None:
        raise OptionError(f'--hold-out works with MMPretrain, got a config of {toolkit.title}: name the images in it')
    if images < 1 or not seed.isdigit():
        raise OptionError(f'--hold-out takes 1 image or more and a seed of 0 or more, got {images} and {seed}')
    importlib.import_module(toolkit.hold_out).use_hold_out(cfg, images, int(seed))
