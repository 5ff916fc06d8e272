_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/semi_digits_runtime.py',
]

model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(depth=8, in_channels=1),
    method=dict(type='VirtualAdversarialTraining', eps=2.0, xi=0.1),
    semi_train_cfg=dict(eta_2=1.0),
)
