"""Compare settings or configs over seeds: ``mmseg-isda sweep``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['sweep', *sys.argv[1:]]))
