# One generator of all classes (the paper trains one each), for configs/cifar/baselines/..._wgan_b128_cifar10.py.
_base_ = './wgan_cifar10.py'

model = dict(num_classes=10)
