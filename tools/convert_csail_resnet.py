"""Make the ImageNet weights that the Cityscapes configs start from.

MIT CSAIL's files, http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet{50,101}-imagenet.pth, are renamed
for MMSegmentation's ResNetV1c:

    python tools/convert_csail_resnet.py resnet101-imagenet.pth pretrained/resnet101_csail.pth
"""

import argparse
import sys

from mmseg_isda.checkpoints.csail import convert_csail_file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help="CSAIL's file")
    parser.add_argument('target', help='the file to write, e.g. pretrained/resnet101_csail.pth')
    parser.add_argument('--force', action='store_true', help='replace the target where it exists')
    args = parser.parse_args()
    try:
        done = convert_csail_file(args.source, args.target, force=args.force)
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'ResNet-{done.depth}: {len(done.mapped)} tensors mapped, none missing, {len(done.dropped)} dropped '
          f'({", ".join(done.dropped) or "none"}).')  # fmt: skip
    print(f'Written to {args.target}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
