# Explicit augmentation on the digits, for `tools/analyze.py compare` beside resnet14_isda_b64-30e_digits.py.
_base_ = '../digits/resnet14_b64-30e_digits.py'

model = dict(head=dict(loss=dict(type='ExplicitSDALoss', num_samples=1, lambda_0=0.5, covariance='full')))
