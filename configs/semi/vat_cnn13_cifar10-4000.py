_base_ = [
    '../_base_/models/cnn13.py',
    '../_base_/datasets/semi_cifar10.py',
    '../_base_/schedules/semi_400e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    method=dict(type='VirtualAdversarialTraining', eps=8.0),
    semi_train_cfg=dict(eta_2=1.0),
)
