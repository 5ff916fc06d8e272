# Wide-ResNet-28-10: 36.48 M parameters.
_base_ = './wrn-16-8_b128_cifar100.py'

model = dict(backbone=dict(depth=28, widen_factor=10, dropout=0.3), head=dict(in_channels=640))
