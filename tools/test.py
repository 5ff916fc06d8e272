"""Score a checkpoint: ``mmseg-isda test``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
