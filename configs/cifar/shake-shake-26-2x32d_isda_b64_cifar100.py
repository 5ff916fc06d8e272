_base_ = './shake-shake-26-2x32d_b64_cifar100.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
