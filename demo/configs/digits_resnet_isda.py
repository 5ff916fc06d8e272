# The twin of digits_resnet.py: nothing differs but the loss.
_base_ = './digits_resnet.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=1.0, covariance='full')))
