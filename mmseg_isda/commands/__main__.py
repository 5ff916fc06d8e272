"""The console command ``mmseg-isda``; ``python -m mmseg_isda.commands`` is the same."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module

from .outcome import run_command

# Module and summary of each subcommand. A module is imported when its command is called: toolkits take seconds.
COMMANDS = {
    'train': ('mmseg_isda.commands.train', 'train a model, with or without ISDA'),
    'search': ('mmseg_isda.commands.search', 'choose lambda_0 by training with several values'),
    'sweep': ('mmseg_isda.commands.sweep', 'compare settings or configs over seeds, paired with a baseline'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0, 1 if something failed, 2 for what the user can mend."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = ArgumentParser(prog='mmseg-isda', description='Implicit semantic data augmentation (ISDA).')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, (module, summary) in COMMANDS.items():
        if words[:1] != [name]:
            commands.add_parser(name, help=summary)
            continue
        command = import_module(module)
        command.add_arguments(
            commands.add_parser(
                name, help=summary, description=command.__doc__, formatter_class=RawDescriptionHelpFormatter
            )
        )
    args = parser.parse_args(words)
    return run_command(lambda: command.run(args))


if __name__ == '__main__':
    sys.exit(main())
