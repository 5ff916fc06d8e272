_base_ = './resnet32_b128_cifar10-jpeg.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
