"""Choose lambda_0: a sweep over its values, compared with cross entropy (Fig. 11 of the paper).

    mmseg-isda search CONFIG --lambdas 0 .25 .5 1 2.5 --seeds 0 1 2 3 --jobs 2 --work-dir work_dirs/search

The first value is the baseline. See `mmseg-isda sweep` for everything else.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace

from ..errors import OptionError
from . import sweep
from .arguments import add_config_arguments

DEFAULT_LAMBDAS = (0, 0.1, 0.25, 0.5, 0.75, 1)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_config_arguments(parser)
    parser.add_argument(
        '--lambdas',
        nargs='+',
        type=float,
        default=DEFAULT_LAMBDAS,
        metavar='X',
        help='values of lambda_0; 0 is plain cross entropy (default: %(default)s)',
    )
    sweep.add_sweep_arguments(parser)
    parser.set_defaults(name='search', baseline=None)


def run(args: Namespace) -> int:
    """Run the search; return 1 if a training failed."""
    wrong = [value for value in args.lambdas if not 0 <= value < math.inf]
    if wrong:
        raise OptionError(f'lambda_0 must be a number, 0 or more, got {wrong[0]}')
    args.config, args.set = [args.config], [f'lambda_0={",".join(map(repr, args.lambdas))}']
    return sweep.run(args)
