# CIFAR-100, as CIFAR-10, which see; downloaded to data/cifar100.
_base_ = './cifar10.py'

data_preprocessor = dict(num_classes=100)
# RandAugment's authors name no setting of Shake-Shake on CIFAR-100: it takes that of Wide-ResNet-28-10.
randaugment_pipeline = [
    *_base_.crop_and_flip,
    dict(type='PillowRandAugment', num_ops=2, magnitude=14),
    *_base_.cutout,
]
shake_randaugment_pipeline = randaugment_pipeline

train_dataloader = dict(dataset=dict(type='CIFAR100', data_root='data/cifar100'))
val_dataloader = dict(dataset=dict(type='CIFAR100', data_root='data/cifar100'))
test_dataloader = dict(dataset=dict(type='CIFAR100', data_root='data/cifar100'))
