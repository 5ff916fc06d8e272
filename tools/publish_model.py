"""Strips a checkpoint for publishing: weights and meta data stay; optimizer, logs and ISDA statistics go."""

import argparse
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='checkpoint that training wrote')
    parser.add_argument('target', metavar='OUT', help='file to write; the first 8 of its SHA-256 join the name')
    parser.add_argument('--force', action='store_true', help='replace a file of that name')
    args = parser.parse_args()
    from mmseg_isda.checkpoints.publishing import publish_checkpoint

    published = publish_checkpoint(args.source, args.target, force=args.force)
    for what, names in (('entries', published.dropped_entries), ('ISDA statistics', published.dropped_statistics)):
        print(f'left out {len(names)} {what}' + (f': {", ".join(names)}' if names else ''), file=sys.stderr)
    print(published.path)


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
