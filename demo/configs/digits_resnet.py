# The smallest ResNet for CIFAR on ten labeled digits a class (8 x 8 pixels); each seed has labeled digits of its own,
# and is tested on the others. `make demo-classification` trains it and its ISDA twin.
_base_ = '../../configs/digits/resnet14_b64-30e_digits.py'

labeled, epochs = 100, 60
model = dict(backbone=dict(depth=8))
digits = dict(type='HandwrittenDigits', split='train')
train_dataloader = dict(
    batch_size=50,
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        num_images=labeled,
        dataset=dict(**digits, pipeline=[]),
        pipeline=[dict(type='RandomCrop', crop_size=8, padding=1), dict(type='PackInputs')],
    ),
)
test_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='rest',
        num_images=labeled,
        dataset=dict(**digits, pipeline=[dict(type='PackInputs')]),
    ),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=epochs, val_interval=10)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=30, max_keep_ckpts=2))
