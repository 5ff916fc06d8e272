# Faster R-CNN, ResNet-101, FPN, as MMDetection has it, from torchvision's ImageNet weights.
# 12 epochs, 8 GPUs of 2 images; with fewer, scale the learning rate: --cfg-options auto_scale_lr.enable=True
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py'
