_base_ = [
    '../_base_/models/cifar_seresnet110.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_seresnet_200e.py',
    '../_base_/classification_runtime.py',
]
