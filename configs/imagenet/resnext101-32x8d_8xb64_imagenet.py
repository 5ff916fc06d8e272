# ResNeXt-101, 32x8d: 88.79 M parameters.
_base_ = './resnet50_8xb64_imagenet.py'

model = dict(backbone=dict(type='ResNeXt', depth=101, groups=32, width_per_group=8))
