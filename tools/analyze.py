"""Draws one of the paper's analyses of a trained network: tools/analyze.py CONFIG CHECKPOINT WHAT [--out DIR]."""

import sys

if __name__ == '__main__':
    from mmseg_isda.analysis.main import main
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
