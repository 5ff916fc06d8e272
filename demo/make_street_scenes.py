"""Make the synthetic street scenes: python tools/make_street_scenes.py [ROOT]."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout without an installation

from .street_scenes import class_frequencies, make_dataset


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, make the set, print how frequent each class is."""
    parser = argparse.ArgumentParser(
        description='Make synthetic street scenes in the layout and label ids of Cityscapes.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('root', nargs='?', default='data/street_scenes', help='folder to fill')
    parser.add_argument('--train', type=int, default=240, help='number of training images')
    parser.add_argument('--val', type=int, default=60, help='number of validation images')
    parser.add_argument('--height', type=int, default=128, help='rows of an image')
    parser.add_argument('--width', type=int, default=256, help='columns of an image')
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other scenes')
    parser.add_argument('--overwrite', action='store_true', help='replace a set made with other settings')
    parser.add_argument('--jobs', type=int, help='number of processes (default: one for each CPU)')
    options = vars(parser.parse_args(arguments))
    try:
        root = make_dataset(options.pop('root'), **options)
    except (ValueError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    size = f'{options["height"]}x{options["width"]}'
    print(f'{root}: {options["train"]} training and {options["val"]} validation images, {size}')
    print(f'{"class":14s} {"pixels":>8s} {"images":>8s}')
    for name, (pixels, images) in class_frequencies(root).items():
        print(f'{name:14s} {pixels:8.2%} {images:8.0%}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
