_base_ = '../resnet110_b128_cifar100.py'

model = dict(head=dict(type='DistributionNetClsHead'))
