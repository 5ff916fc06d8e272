"""Makes a pretrained ResNet, ResNeXt or DenseNet ready for MMDetection, MMPretrain or MMSegmentation.

The source is a checkpoint of MMPretrain, a bare state dict with torchvision's names (as the authors of ISDA released)
or a training checkpoint whose entry `state_dict` has them, or a file of MIT CSAIL, which the Cityscapes configs start
from (http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet{50,101}-imagenet.pth); network and kind of source
are found out:

    python tools/convert_checkpoint.py work_dirs/resnet50_isda/epoch_300.pth pretrained/resnet50_isda.pth
    python tools/convert_checkpoint.py resnet101-imagenet.pth pretrained/resnet101_csail.pth --target mmseg
"""

import argparse
import sys

TARGETS = ('mmdet', 'mmpretrain', 'mmseg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', metavar='IN', help='checkpoint to read; no code of it is run')
    parser.add_argument('target_file', metavar='OUT', help='file to write')
    parser.add_argument(
        '--target',
        choices=TARGETS,
        default='mmdet',
        help='a backbone for MMDetection or MMSegmentation, or a classifier for MMPretrain (default: %(default)s)',
    )
    parser.add_argument('--arch', help='refuse any other network than this one, e.g. resnet50')
    parser.add_argument('--verbose', action='store_true', help='list every mapped name too')
    parser.add_argument('--force', action='store_true', help='replace OUT where it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmseg_isda.checkpoints.convert import convert_checkpoint

    done = convert_checkpoint(args.source, args.target_file, target=args.target, arch=args.arch, force=args.force)
    for line in done.report(every_name=args.verbose):
        print(line)
    print(f'written to {args.target_file}')
    if args.target != 'mmpretrain':
        settings = ', '.join(f'{key}={value!r}' for key, value in done.backbone.items())
        print(f"use it: backbone=dict({settings}, init_cfg=dict(type='Pretrained', checkpoint='{args.target_file}'))")


if __name__ == '__main__':
    from mmseg_isda.commands.launch import run_command

    sys.exit(run_command(main))
