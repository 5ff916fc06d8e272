_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/schedules/cifar_resnet_160e.py',
    '../../_base_/classification_runtime.py',
]
model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8, in_channels=1),
    method=dict(type='MeanTeacher'),
    semi_train_cfg=dict(eta_2=100.0, rampup=dict(end=10, begin=1)),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=30, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=30, val_interval=10)
default_hooks = dict(logger=dict(interval=10), mean_teacher=dict(type='MeanTeacherHook', momentum=0.01))
