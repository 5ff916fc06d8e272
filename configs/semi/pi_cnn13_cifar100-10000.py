_base_ = [
    '../_base_/models/cnn13.py',
    '../_base_/datasets/semi_cifar100.py',
    '../_base_/schedules/semi_400e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    head=dict(num_classes=100),
    method=dict(type='PiModel'),
    semi_train_cfg=dict(eta_2=100.0, rampup=dict(begin=1, end=80)),
)
train_dataloader = dict(dataset=dict(unsup_pipeline=_base_.shared_flip))
