# A short run for one CPU core (five minutes): Pi-model, ResNet-8, 32 + 32 images a batch, 1,000 iterations.
_base_ = [
    '../_base_/models/cifar_resnet32.py',
    '../_base_/datasets/semi_cifar10_jpeg.py',
    '../_base_/schedules/cifar_resnet_160e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8),
    method=dict(type='PiModel'),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(end=300, by_epoch=False)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=1000, eta_min=0)]
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=1000, val_begin=800, val_interval=100)
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=500),
)
log_processor = dict(by_epoch=False)
