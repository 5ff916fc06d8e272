"""How to get what the detection configs read, for the errors about missing files."""

from ..engine.preflight import HINTS

# Ahead of COCO, whose data set class reads the tiny set too.
HINTS['tiny_coco'] = 'make it with `python tools/make_tiny_coco.py {root}`'
HINTS['tiny-coco'] = '`make demo-detection` makes it'
HINTS['coco'] = (
    'download train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack them there'
)
for network in ('resnet50', 'resnet101'):
    HINTS[f'{network}_isda'] = (
        f'make it from a checkpoint that was pretrained with ISDA: python tools/convert_checkpoint.py CHECKPOINT '
        f'pretrained/{network}_isda.pth --target mmdet --arch {network}'
    )
