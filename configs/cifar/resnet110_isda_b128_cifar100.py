_base_ = './resnet110_b128_cifar100.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
