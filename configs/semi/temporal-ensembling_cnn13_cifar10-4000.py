_base_ = [
    '../_base_/models/cnn13.py',
    '../_base_/datasets/semi_cifar10.py',
    '../_base_/schedules/semi_400e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    method=dict(type='TemporalEnsembling', num_samples=50000, num_classes=10),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(begin=1, end=80)),
)
