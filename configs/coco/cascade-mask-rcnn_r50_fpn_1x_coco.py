# Cascade Mask R-CNN, ResNet-50, FPN, as MMDetection has it, from torchvision's ImageNet weights.
# 12 epochs, 8 GPUs of 2 images; with fewer, scale the learning rate: --cfg-options auto_scale_lr.enable=True
_base_ = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
