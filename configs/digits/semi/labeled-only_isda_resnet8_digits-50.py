_base_ = './labeled-only_resnet8_digits-50.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
