_base_ = '../wrn-28-10_b128_cifar100.py'

model = dict(head=dict(type='CenterLossClsHead', center_rate=0.5))
