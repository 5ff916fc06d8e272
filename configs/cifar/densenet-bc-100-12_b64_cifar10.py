_base_ = [
    '../_base_/models/cifar_densenet-bc-100-12.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/cifar_densenet_300e.py',
    '../_base_/classification_runtime.py',
]

train_dataloader = dict(batch_size=64)
