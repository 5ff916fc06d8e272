_base_ = [
    '../_base_/models/cnn13.py',
    '../_base_/datasets/semi_cifar100.py',
    '../_base_/schedules/semi_400e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    head=dict(num_classes=100),
    method=dict(type='MeanTeacher'),
    semi_train_cfg=dict(eta_2=100.0, rampup=dict(end=40_000, by_epoch=False)),
)
train_dataloader = dict(dataset=dict(unsup_pipeline=_base_.two_views))
default_hooks = dict(mean_teacher=dict(type='MeanTeacherHook', momentum=0.001))
