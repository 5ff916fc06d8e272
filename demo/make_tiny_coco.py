"""Makes a tiny data set in COCO's format: drawn objects with boxes and masks, and crops of them for pretraining."""

import argparse
import sys
import time


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('root', nargs='?', default='data/tiny_coco', help='folder to fill')
    parser.add_argument('--train', type=int, default=320, help='number of training pictures')
    parser.add_argument('--val', type=int, default=80, help='number of validation pictures')
    parser.add_argument('--crops', type=int, default=1200, help='number of crops to pretrain on')
    parser.add_argument('--height', type=int, default=160, help='rows of a picture')
    parser.add_argument('--width', type=int, default=224, help='columns of a picture')
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other pictures')
    parser.add_argument('--overwrite', action='store_true', help='replace a set made with other settings')
    return parser.parse_args()


def main() -> None:
    options = vars(parse_args())
    from .tiny_coco import count_objects, make_tiny_coco

    root, began = options.pop('root'), time.monotonic()

    def tell(done: int, total: int) -> None:
        if done * 10 // total > (done - 1) * 10 // total:
            left = (time.monotonic() - began) / done * (total - done)
            print(f'tiny COCO: {done}/{total} made, {left:.0f} s left', flush=True)

    made = make_tiny_coco(root, **options, tell=tell)
    size = f'{options["height"]}x{options["width"]}'
    print(
        f'{root}: {options["train"]} training and {options["val"]} validation pictures, {size}'
        + ('' if made else ', were there already')
    )
    print(f'{"category":10s} {"train":>7s} {"val":>7s}')
    for name, counts in count_objects(root).items():
        print(f'{name:10s} {counts["train"]:7d} {counts["val"]:7d}')


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
