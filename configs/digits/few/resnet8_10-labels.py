# ResNet-8 on ten labeled digits a class: seconds a run. Each seed has its own labeled and test images.
# `make demo-classification` trains it and its ISDA twin.
_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/digits_few.py',
    '../../_base_/schedules/cifar_resnet_160e.py',
    '../../_base_/classification_runtime.py',
]

model = dict(backbone=dict(depth=8, in_channels=1))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=60, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=60, val_interval=15)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=60, max_keep_ckpts=1),
    last_epochs=dict(num_epochs=1),  # the learning rate ends at zero: the last epoch is as good as a mean
)
