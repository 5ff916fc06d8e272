_base_ = './densenet-bc-100-12_b64_cifar100.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
