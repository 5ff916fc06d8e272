# Wide-ResNet-16-8: 10.96 M parameters.
_base_ = './cifar_resnet32.py'

model = dict(backbone=dict(type='WideResNet', depth=16, widen_factor=8), head=dict(in_channels=512))
