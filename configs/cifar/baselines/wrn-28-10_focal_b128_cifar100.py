_base_ = '../wrn-28-10_b128_cifar100.py'

model = dict(head=dict(loss=dict(type='SoftmaxFocalLoss', alpha=0.5, gamma=1.0)))
