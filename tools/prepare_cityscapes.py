"""Make the training labels of a Cityscapes download and check that it is whole.

ROOT holds leftImg8bit/ and gtFine/, as leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip unpack:

    pip install cityscapesscripts
    python tools/prepare_cityscapes.py data/cityscapes --jobs 8
"""

import argparse
import os
import sys

from mmseg_isda.segmentation.cityscapes import prepare_cityscapes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', metavar='ROOT', help='the folder with leftImg8bit/ and gtFine/')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1, help='processes (default: one a core)')
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f'--jobs must be at least 1, got {args.jobs}')
    try:
        done = prepare_cityscapes(args.root, jobs=args.jobs)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    numbers = ', '.join(f'{split} {number:,}' for split, number in done.counts.items())
    print(f'{done.made:,} labels made, {done.skipped:,} were there already. Complete: {numbers}.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
