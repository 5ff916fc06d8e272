_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/semi_digits_runtime.py',
]

model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8, in_channels=1),
    method=dict(type='MeanTeacher'),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(end=150, by_epoch=False)),
)
train_dataloader = dict(dataset=dict(unsup_pipeline=_base_.two_views))
default_hooks = dict(mean_teacher=dict(type='MeanTeacherHook', momentum=0.02))
