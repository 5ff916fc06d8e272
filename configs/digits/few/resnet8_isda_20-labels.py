_base_ = './resnet8_20-labels.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=1.0, covariance='full')))
