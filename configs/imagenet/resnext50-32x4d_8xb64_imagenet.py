# ResNeXt-50, 32x4d: 25.03 M parameters.
_base_ = './resnet50_8xb64_imagenet.py'

model = dict(backbone=dict(type='ResNeXt', groups=32, width_per_group=4))
