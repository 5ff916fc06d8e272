_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/semi_digits_runtime.py',
]

model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8, in_channels=1),
    method=dict(type='PiModel'),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(begin=1, end=4)),
)
train_dataloader = dict(dataset=dict(unsup_pipeline=_base_.two_views))
