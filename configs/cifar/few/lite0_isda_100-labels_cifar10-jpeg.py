_base_ = './lite0_100-labels_cifar10-jpeg.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=1.0, covariance='diagonal')))
