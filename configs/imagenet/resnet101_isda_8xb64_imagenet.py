_base_ = './resnet101_8xb64_imagenet.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=5.0, covariance='diagonal')))
