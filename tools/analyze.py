"""Draw one of the paper's analyses of a trained network: ``mmseg-isda analyze``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['analyze', *sys.argv[1:]]))
