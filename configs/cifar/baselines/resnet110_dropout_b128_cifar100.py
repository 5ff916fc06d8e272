_base_ = '../resnet110_b128_cifar100.py'

model = dict(backbone=dict(dropout=0.3))
