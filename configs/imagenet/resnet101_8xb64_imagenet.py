# ResNet-101: 44.55 M parameters.
_base_ = './resnet50_8xb64_imagenet.py'

model = dict(backbone=dict(depth=101))
