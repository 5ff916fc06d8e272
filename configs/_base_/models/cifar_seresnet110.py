# SE-ResNet-110: 1.743 M parameters.
_base_ = './cifar_resnet32.py'

model = dict(backbone=dict(type='CIFARSEResNet', depth=110))
