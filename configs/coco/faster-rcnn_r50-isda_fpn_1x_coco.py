# MMDetection's Faster R-CNN with a ResNet-50 pretrained with ISDA (mmseg-isda convert).
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='pretrained/resnet50_isda.pth')))
