# The same from a ResNet-101 that was pretrained with ISDA: tools/convert_checkpoint.py makes the file.
_base_ = './cascade-rcnn_r101_fpn_1x_coco.py'

model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet101_isda.pth')),
)
