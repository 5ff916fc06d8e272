_base_ = './resnext101-32x8d_8xb64_imagenet.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=7.5, covariance='diagonal')))
