"""Choose lambda_0: ``mmseg-isda search``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['search', *sys.argv[1:]]))
