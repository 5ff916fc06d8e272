"""Train a model, with or without ISDA: ``mmseg-isda train``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
