# DenseNet-BC-100-12: 0.769 M parameters.
_base_ = './cifar_resnet32.py'

model = dict(backbone=dict(_delete_=True, type='CIFARDenseNet', depth=100, growth_rate=12), head=dict(in_channels=342))
