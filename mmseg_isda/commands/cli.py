"""The console command ``mmseg-isda``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module

from .outcome import run_command

# Module and summary of each subcommand. A module is imported when its command is called: toolkits take seconds.
COMMANDS = {
    'train': ('mmseg_isda.commands.train', 'train a model, with or without ISDA'),
    'test': ('mmseg_isda.commands.test', 'score a checkpoint, also at the three protocols of Table 7'),
    'search': ('mmseg_isda.commands.search', 'choose lambda_0 by training with several values'),
    'sweep': ('mmseg_isda.commands.sweep', 'compare settings or configs over seeds, paired with a baseline'),
    'config': ('mmseg_isda.commands.config', 'list, show and copy the configs that come along'),
    'convert': ('mmseg_isda.commands.convert', 'convert pretrained weights from one library to another'),
    'publish': ('mmseg_isda.commands.publish', 'strip a checkpoint of all but its weights'),
    'analyze': ('mmseg_isda.analysis.main', "draw the paper's figures from a trained network"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0, 1 if something failed, 2 for what the user can mend."""
    return run_command(partial(_run, list(sys.argv[1:] if argv is None else argv)))


def _run(words: list[str]) -> int | None:
    parser = ArgumentParser(prog='mmseg-isda', description='Implicit semantic data augmentation (ISDA).')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, (module, summary) in COMMANDS.items():
        if words[:1] == [name]:
            command = import_module(module)
            if not hasattr(command, 'add_arguments'):  # it has a parser of its own
                return command.main(words[1:])
            layout = dict(description=command.__doc__, formatter_class=RawDescriptionHelpFormatter)
            command.add_arguments(commands.add_parser(name, help=summary, **layout))
        else:
            commands.add_parser(name, help=summary)
    args = parser.parse_args(words)
    return command.run(args)
