_base_ = '../wrn-28-10_b128_cifar10.py'

model = dict(head=dict(loss=dict(type='LqLoss', q=0.4)))
