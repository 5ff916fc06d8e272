_base_ = [
    '../_base_/models/cifar_shake-shake-26-2x32d.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_shake-shake_1800e.py',
    '../_base_/classification_runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
