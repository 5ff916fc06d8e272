_base_ = '../wrn-28-10_b128_cifar10.py'

model = dict(head=dict(loss=dict(type='DisturbLabelLoss', noise_rate=0.05)))
