_base_ = '../resnet110_b128_cifar10.py'

model = dict(head=dict(loss=dict(type='LqLoss', q=0.4)))
