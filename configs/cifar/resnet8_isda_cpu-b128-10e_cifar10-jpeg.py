_base_ = './resnet8_cpu-b128-10e_cifar10-jpeg.py'

model = dict(head=dict(loss=dict(type='ISDALoss', lambda_0=0.5, covariance='full')))
