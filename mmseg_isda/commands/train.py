"""Train a model of MMSegmentation, MMPretrain or MMDetection; ISDAHook is added where a config uses an ISDA loss."""

from __future__ import annotations

import importlib
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_config_arguments, add_launcher_arguments, export_rank, parse_options

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


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
    from ..engine.validations import ValidationHistory
    from .launch import build_runner, launched_rank, prepare_training
    from .preflight import check_output
    from .records import write_json
    from .resume import saying_where_to_resume

    export_rank(args)
    if args.record:
        check_output(args.record, '--record', overwrite=True)
    cfg, notes = prepare_training(args.config, resume=args.resume, **_settings(args))
    change(cfg, args)
    if args.record:
        history = dict(type=ValidationHistory.__name__, needs=args.metric, _scope_='mmengine')
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), history]
    began = time.time()
    with saying_where_to_resume(cfg):
        runner = build_runner(cfg, notes)
        runner.train()
        record = validation_record(runner, test=args.test) if args.record else None
    if record and launched_rank() == 0:
        write_json(Path(args.record), record | {'seconds': time.time() - began})


def configure(args: Namespace) -> Config:
    """Return the config that a run would train from, without a look at its work dir."""
    from .launch import configure_training

    cfg, _ = configure_training(args.config, **_settings(args))
    change(cfg, args)
    return cfg


def _settings(args: Namespace) -> dict[str, Any]:
    names = ('work_dir', 'amp', 'launcher', 'seed')
    return {name: getattr(args, name) for name in names} | {'options': parse_options(args.cfg_options)}


def change(cfg: Config, args: Namespace) -> None:
    """Make the changes to a config that options of its own ask for."""
    if args.hold_out is not None:
        hold_out(cfg, args.hold_out, args.hold_out_seed)


def hold_out(cfg: Config, images: int, seed: str) -> None:
    """Keep training images back for validation, where the toolkit of the config can.

    Raises:
        OptionError: if it cannot, or if ``seed`` is no number.
    """
    from ..errors import OptionError
    from ..toolkits import toolkit_of

    if not seed.isdigit():
        raise OptionError(f'--hold-out-seed must be a whole number, 0 or more, got {seed}')
    toolkit = toolkit_of(cfg)
    if toolkit.hold_out is None:
        raise OptionError(
            f'--hold-out works with MMPretrain, got a config of {toolkit.title}: name the training and the validation '
            f'images in the config'
        )
    importlib.import_module(toolkit.hold_out).use_hold_out(cfg, images, int(seed))


def validation_record(runner: Runner, *, test: bool = False) -> dict[str, Any]:
    """Return the metrics of all validations by step, and of the test images if they are wanted.

    Args:
        runner: after training.
        test: score the test images with the last weights.

    Returns:
        ``validations``: metrics by epoch or iteration; ``test``: metrics or ``None``.
    """
    from ..engine.validations import validations

    return {'validations': validations(runner), 'test': runner.test() if test else None}
