# The same from a ResNet-50 that was pretrained with ISDA: tools/convert_checkpoint.py makes the file.
_base_ = './mask-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet50_isda.pth')),
)
