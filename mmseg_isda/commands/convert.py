"""Make a pretrained ResNet, ResNeXt or DenseNet ready for MMDetection, MMPretrain or MMSegmentation.

The source is a checkpoint of MMPretrain, a bare state dict with torchvision's names (as the authors of ISDA released),
a training checkpoint whose entry `state_dict` has them, or a file of MIT CSAIL, which the Cityscapes configs start from
(http://sceneparsing.csail.mit.edu/model/pretrained_resnet/resnet{50,101}-imagenet.pth). Network and kind of source are
found out:

    mmseg-isda convert work_dirs/resnet50_isda/epoch_300.pth pretrained/resnet50_isda.pth
    mmseg-isda convert resnet101-imagenet.pth pretrained/resnet101_csail.pth --target mmseg
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..toolkits import MMDET, MMPRETRAIN, MMSEG


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('source', metavar='IN', help='checkpoint to read; no code of it is run')
    parser.add_argument('target_file', metavar='OUT', help='file to write')
    parser.add_argument(
        '--target',
        choices=[toolkit.package for toolkit in (MMDET, MMPRETRAIN, MMSEG)],
        default=MMDET.package,
        help='a backbone for MMDetection or MMSegmentation, or a classifier for MMPretrain (default: %(default)s)',
    )
    parser.add_argument('--arch', help='refuse any other network than this one, e.g. resnet50')
    parser.add_argument('--verbose', action='store_true', help='list every mapped name too')
    parser.add_argument('--force', action='store_true', help='replace OUT where it exists')


def run(args: Namespace) -> None:
    """Write the converted file and print what became of its tensors."""
    from ..checkpoints.convert import convert_checkpoint

    done = convert_checkpoint(args.source, args.target_file, target=args.target, arch=args.arch, force=args.force)
    for line in done.report(every_name=args.verbose):
        print(line)
    print(f'written to {args.target_file}')
    if args.target != MMPRETRAIN.package:
        settings = ', '.join(f'{key}={value!r}' for key, value in done.backbone.items())
        print(f"use it: backbone=dict({settings}, init_cfg=dict(type='Pretrained', checkpoint='{args.target_file}'))")
