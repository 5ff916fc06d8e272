_base_ = [
    '../_base_/models/cifar_resnet32.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_resnet_160e.py',
    '../_base_/classification_runtime.py',
]
