# One generator of all classes, for configs/cifar/baselines/..._wgan_b128_cifar10.py; the paper trains one for each class.
_base_ = './wgan_cifar10.py'

model = dict(num_classes=10)
