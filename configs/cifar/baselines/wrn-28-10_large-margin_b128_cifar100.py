_base_ = '../wrn-28-10_b128_cifar100.py'

model = dict(head=dict(type='LargeMarginClsHead', margin=2))
