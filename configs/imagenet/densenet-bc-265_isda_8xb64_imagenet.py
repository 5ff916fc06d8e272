_base_ = './densenet-bc-265_8xb64_imagenet.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=1.0, covariance='diagonal')))
