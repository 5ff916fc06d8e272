# ResNet-14 on scikit-learn's digits: runs as it is, in a minute or two of one CPU core.
_base_ = [
    '../_base_/models/cifar_resnet32.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/cifar_resnet_160e.py',
    '../_base_/classification_runtime.py',
]

model = dict(backbone=dict(depth=14, in_channels=1))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=30, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=30)
default_hooks = dict(logger=dict(interval=10))
