# ResNet-110: 1.731 M parameters.
_base_ = './resnet32_b128_cifar10.py'

model = dict(backbone=dict(depth=110))
