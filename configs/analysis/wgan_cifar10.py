# The same on CIFAR-10, for a GPU. Not trained to the end yet.
_base_ = './wgan_digits.py'

model = dict(channels=3, size=32, width=128)
train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    dataset=dict(
        _delete_=True,
        type='CIFAR10',
        data_root='data/cifar10',
        split='train',
        pipeline=[dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')],
    ),
)
optim_wrapper = dict(generator=dict(optimizer=dict(lr=1e-4)), critic=dict(optimizer=dict(lr=1e-4)))
train_cfg = dict(max_epochs=200)
