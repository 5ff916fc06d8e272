# ResNet-110: 1.731 M parameters.
_base_ = './resnet32_b128_cifar100.py'

model = dict(backbone=dict(depth=110))
