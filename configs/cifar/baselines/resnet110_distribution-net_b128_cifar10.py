_base_ = '../resnet110_b128_cifar10.py'

model = dict(head=dict(type='DistributionNetClsHead'))
