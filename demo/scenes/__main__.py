"""Draw street scenes with the truth for segmentation, detection and classification: python -m demo.scenes [ROOT]."""

import argparse
import sys

from mmseg_isda.commands.outcome import run_command

from .dataset import make_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('root', nargs='?', default='data/scenes', help='folder to make')
    parser.add_argument('--train', type=int, default=240, help='number of training images')
    parser.add_argument('--val', type=int, default=120, help='number of validation images')
    parser.add_argument('--height', type=int, default=128, help='rows of an image')
    parser.add_argument('--width', type=int, default=256, help='columns of an image')
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other scenes')
    parser.add_argument('--jobs', type=int, help='number of processes (default: one for each CPU)')
    options = vars(parser.parse_args())
    record = make_scenes(options.pop('root'), **options)
    print(f'{"class":14s} {"pixels":>8s} {"images":>8s}')
    for name, pixels in record['pixels'].items():
        print(f'{name:14s} {pixels:8.2%} {record["images"][name]:8.0%}')


if __name__ == '__main__':
    sys.exit(run_command(main))
