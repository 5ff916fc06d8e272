"""Convert pretrained weights from one library to another: ``mmseg-isda convert``."""

import sys

from mmseg_isda.commands.cli import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
