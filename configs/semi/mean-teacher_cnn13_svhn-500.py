_base_ = [
    '../_base_/models/cnn13.py',
    '../_base_/datasets/semi_svhn.py',
    '../_base_/schedules/semi_400e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    method=dict(type='MeanTeacher'),
    semi_train_cfg=dict(eta_2=1.0, rampup=dict(end=40_000, by_epoch=False)),
)
train_dataloader = dict(dataset=dict(unsup_pipeline=_base_.two_views))
default_hooks = dict(
    mean_teacher=dict(type='MeanTeacherHook', momentum=0.001, warmup_momentum=0.01, warmup_iters=40_000)
)
