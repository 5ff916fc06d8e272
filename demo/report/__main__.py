"""Write a page on a sweep: python -m demo.report work_dirs/sweep/sweep.json --out report.html."""

import argparse
import sys
from pathlib import Path

from mmseg_isda.commands.outcome import run_command
from mmseg_isda.files import write_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path, help='sweep.json, which mmseg-isda sweep wrote')
    parser.add_argument('--out', type=Path, default=Path('report.html'), help='page to write (default: %(default)s)')
    parser.add_argument('--titles', nargs='+', default=[], metavar='NAME', help='what to call the variants')
    parser.add_argument('--predictions', type=Path, metavar='DIR', help='folder that python -m demo.predict wrote')
    parser.add_argument('--title', default='ISDA and cross entropy, paired by seed', help='heading of the page')
    parser.add_argument('--note', default='', help='what a reader must know to judge the figures')
    args = parser.parse_args()
    from . import load_record, render

    record = load_record(args.sweep, titles=args.titles, predictions=args.predictions)
    write_bytes(render(record, title=args.title, note=args.note).encode(), args.out)
    print(f'report written to {args.out}')


if __name__ == '__main__':
    sys.exit(run_command(main))
