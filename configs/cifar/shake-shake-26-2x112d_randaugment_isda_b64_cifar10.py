_base_ = './shake-shake-26-2x112d_randaugment_b64_cifar10.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
