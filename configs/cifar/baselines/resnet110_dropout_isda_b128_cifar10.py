_base_ = '../resnet110_isda_b128_cifar10.py'

model = dict(backbone=dict(dropout=0.3))
