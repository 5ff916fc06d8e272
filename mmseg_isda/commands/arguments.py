"""Command-line arguments that several commands share. Nothing heavy is imported, so that ``--help`` is quick."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

from ..errors import OptionError

CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def add_config_arguments(parser: ArgumentParser, *, several: bool = False) -> None:
    """Add the config and ``--cfg-options``."""
    what = 'config file, or the name of a shipped config (mmseg-isda config list)'
    parser.add_argument('config', nargs='+' if several else None, help=what)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='settings of the config to change, e.g. optim_wrapper.optimizer.lr=0.02; an option of the ISDA losses '
        'alone, e.g. lambda_0=2, is set in every one',
    )


def add_launcher_arguments(parser: ArgumentParser) -> None:
    """Add the launcher and the rank, which torchrun spells in two ways."""
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def export_rank(args: Namespace) -> None:
    """Hand the local rank on through the environment, where MMEngine looks for it."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


def parse_options(words: Iterable[str], option: str = '--cfg-options') -> dict[str, Any]:
    """Return the settings in ``KEY=VALUE`` words, their values read as MMEngine does; ``option`` is named in errors."""
    from mmengine.config import DictAction

    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition('=')
        if not equals or not all(key.split('.')):
            raise OptionError(f'{option} {word}: expected KEY=VALUE, such as optim_wrapper.optimizer.lr=0.02')
        if any(text.count(opening) != text.count(closing) for opening, closing in ('()', '[]')):
            raise OptionError(f'{option} {word}: the brackets of the value do not match')
        if text.startswith('{') and ':' in text:  # which MMEngine would leave a string
            raise OptionError(f'{option} {word}: a dict is not read here; set its entries, {key}.NAME=VALUE')
        try:
            found[key] = DictAction._parse_iterable(text)
        except RecursionError:  # of MMEngine, for lists side by side
            raise OptionError(f'{option} {word}: put several lists into brackets of their own, [[1,2],[3,4]]') from None
    return found
