"""``python -m mmseg_isda.commands`` is the console command ``mmseg-isda``."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
