"""Compare two training runs on one HTML page: scores, curves, classes, pictures, and where the configs differ.

    python tools/report.py work_dirs/BASELINE work_dirs/OTHER --out report.html

The scores are those that `tools/test.py CONFIG CHECKPOINT --protocols --json work_dirs/RUN/scores.json` wrote.
"""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs=2, metavar='RUN', help='work dir of tools/train.py: baseline, then other')
    parser.add_argument('--out', default='report.html', metavar='FILE', help='page to write (default: %(default)s)')
    parser.add_argument('--names', nargs=2, metavar='NAME', help='what to call the runs (default: their folders)')
    parser.add_argument('--scores', nargs=2, metavar='FILE', help='scores of the runs (default: RUN/scores.json)')
    parser.add_argument('--pictures', type=int, default=5, metavar='N', help='validation images to show (default: 5)')
    parser.add_argument('--title', help='heading of the page')
    parser.add_argument('--note', help='what a reader must know to judge the figures')
    parser.add_argument('--device', help='where the pictures are predicted (default: the GPU if there is one)')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing page')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from .report import compare_runs

    path, table = compare_runs(
        args.runs,
        args.out,
        names=args.names,
        scores=args.scores,
        pictures=args.pictures,
        title=args.title,
        note=args.note,
        device=args.device,
        overwrite=args.overwrite,
    )
    print(table)
    print(f'report written to {path}')


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
