"""The command of all analyses: ``mmseg-isda analyze CONFIG CHECKPOINT WHAT``, or ``tools/analyze.py``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError

ANALYSES = {
    'bound': 'the loss of ISDA against the expected loss that it bounds (Fig. 9)',
    'features': 't-SNE of the features, with augmented ones on the same map (Fig. 8)',
    'spectrum': 'what the covariances hold, what cheaper ones lose, and which classes ISDA separates',
    'directions': 'nearest images along the directions that ISDA augments along',
    'reverse': 'images of augmented features, found through a generator (Figs. 6, 7, 12 to 14)',
    'curves': 'validation over training of finished runs, mean and spread over seeds (Fig. 5)',
    'compare': 'test error of explicit augmentation over its number of samples, from finished runs (Fig. 10)',
}

# The smallest value of each option that counts or weighs something.
SMALLEST = dict(
    images=1, per_class=2, samples=2, perplexity=1, augmented=0, directions=1, neighbors=1, moved=1, shown=1
)
SMALLEST |= dict(latent=2, steps=1, starts=1, last=1, strength=0, eta=0, scale=0, seed=0)
LIBRARIES = ('matplotlib', 'sklearn', 'scipy')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line on which WHAT may stand first or last."""
    argv = list(sys.argv[1:] if argv is None else argv)
    what = next((word for word in argv if word in ANALYSES), None)
    if what is not None:
        argv.remove(what)
        argv.insert(0, what)
    elif argv and '-h' not in argv and '--help' not in argv:
        raise OptionError(f'WHAT must be the first or the last word, one of {", ".join(ANALYSES)}; got {argv[-1]!r}')
    prog = 'mmseg-isda analyze'
    usage = f'{prog} CONFIG CHECKPOINT WHAT [options]\n       {prog} WHAT --help'
    parser = argparse.ArgumentParser(prog=prog, description="Draw one of the paper's analyses.", usage=usage)
    commands = parser.add_subparsers(dest='what', required=True, metavar='WHAT', prog=prog)
    for name, text in ANALYSES.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == what:
            importlib.import_module(f'.{name}', __package__).add_options(command)
            command.add_argument('--out', type=Path, default=Path('analysis'), metavar='DIR', help='(analysis)')
            command.add_argument('--seed', type=int, default=0, help='of everything random (0)')
    args = parser.parse_args(argv)
    for option, smallest in SMALLEST.items():
        value = getattr(args, option, None)
        if value is not None and value < smallest:
            raise OptionError(f'--{option.replace("_", "-")} must be {smallest} or more, got {value:g}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run one analysis and write its picture and its numbers."""
    try:
        args = parse_args(argv)
        _run(args)
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] not in LIBRARIES:
            raise
        raise OptionError(f"{error.name} is not installed: pip install '.[analysis]'") from error


def _run(args: argparse.Namespace) -> None:
    import matplotlib

    from .pictures import STYLE, write_results

    module = importlib.import_module(f'.{args.what}', __package__)
    with matplotlib.rc_context(STYLE):
        numbers, figure = module.run(args)
        write_results(args.out, args.what, numbers, figure)
    print(f'{args.out / args.what}.png and .json written')
