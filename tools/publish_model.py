"""Strip a checkpoint for publishing: ``mmseg-isda publish``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['publish', *sys.argv[1:]]))
