# Explicit augmentation on the digits, to be compared with resnet14_isda_b64-30e_digits.py by `tools/analyze.py compare`.
_base_ = '../digits/resnet14_b64-30e_digits.py'

model = dict(head=dict(loss=dict(type='ExplicitSDALoss', num_samples=1, lambda_0=0.5, covariance='full')))
