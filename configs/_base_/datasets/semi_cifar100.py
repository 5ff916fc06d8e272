# CIFAR-100, as semi_cifar10.py, which see; 10,000 labels.
_base_ = './semi_cifar10.py'

data_preprocessor = dict(num_classes=100)
whitened = dict(matrix='data/cifar100/zca.npz', mean=[129.3, 124.1, 112.4], std=[68.2, 65.4, 70.4])

train_dataloader = dict(
    dataset=dict(
        num_labeled=10000,
        split_file='data/splits/cifar100_{num_labeled}_seed-{seed}.json',
        dataset=dict(**whitened, dataset=dict(type='CIFAR100', data_root='data/cifar100')),
    )
)
val_dataloader = dict(dataset=dict(**whitened, dataset=dict(type='CIFAR100', data_root='data/cifar100')))
test_dataloader = val_dataloader
