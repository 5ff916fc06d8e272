"""Paints what a detector finds on the first pictures of its test set, on one sheet."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config of MMDetection')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', default='detections.jpg', metavar='FILE', help='picture to write, .jpg or .png')
    parser.add_argument('--number', type=int, default=6, help='number of pictures')
    parser.add_argument('--columns', type=int, default=3, help='pictures in a row')
    parser.add_argument('--threshold', type=float, default=0.5, help='least score of what is shown')
    parser.add_argument('--device', default='cpu', help='where the detector runs')
    parser.add_argument('--overwrite', action='store_true', help='replace FILE')
    return parser.parse_args()


def main() -> None:
    options = vars(parse_args())
    from .pictures import write_detections

    shown = write_detections(options.pop('config'), options.pop('checkpoint'), **options)
    print(f'{shown} objects found, painted to {options["out"]}')


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
