_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/semi_digits_runtime.py',
]

model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8, in_channels=1),
    method=dict(type='TemporalEnsembling', num_samples=1297, num_classes=10),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(begin=1, end=4)),
)
