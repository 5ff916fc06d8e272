"""Strip a checkpoint for publishing: weights and meta data stay; optimizer, logs and ISDA statistics go."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('source', metavar='IN', help='checkpoint that training wrote')
    parser.add_argument('target', metavar='OUT', help='file to write; the first 8 of its SHA-256 join the name')
    parser.add_argument('--force', action='store_true', help='replace a file of that name')


def run(args: Namespace) -> None:
    """Write the stripped file and print its name."""
    from ..checkpoints.publishing import publish_checkpoint

    published = publish_checkpoint(args.source, args.target, force=args.force)
    for what, names in (('entries', published.dropped_entries), ('ISDA statistics', published.dropped_statistics)):
        print(f'left out {len(names)} {what}' + (f': {", ".join(names)}' if names else ''), file=sys.stderr)
    print(published.path)
