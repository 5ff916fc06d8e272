_base_ = [
    '../_base_/models/cifar_wrn-28-10.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_wide-resnet_240e.py',
    '../_base_/classification_runtime.py',
]

model = dict(head=dict(num_classes=100))
