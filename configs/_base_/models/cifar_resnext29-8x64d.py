# ResNeXt-29, 8x64d: 34.43 M parameters.
_base_ = './cifar_resnet32.py'

model = dict(backbone=dict(type='CIFARResNeXt', depth=29, groups=8, width_per_group=64), head=dict(in_channels=1024))
