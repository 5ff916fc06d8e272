_base_ = [
    '../_base_/models/cifar_resnext29-8x64d.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_resnext_350e.py',
    '../_base_/classification_runtime.py',
]

model = dict(head=dict(num_classes=100))
