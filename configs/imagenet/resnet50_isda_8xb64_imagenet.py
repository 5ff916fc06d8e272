_base_ = './resnet50_8xb64_imagenet.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=7.5, covariance='diagonal')))
