# The labeled digits alone, as often as the semi-supervised configs show them.
_base_ = [
    '../../_base_/models/cifar_resnet32.py',
    '../../_base_/datasets/semi_digits.py',
    '../../_base_/semi_digits_runtime.py',
]

model = dict(backbone=dict(depth=8, in_channels=1))
train_dataloader = dict(
    batch_size=32,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=25,
        dataset=dict(
            type='LabelSplitDataset',
            part='labeled',
            num_labeled=50,
            seed=0,
            dataset=_base_.images,
            pipeline=_base_.crop_and_pack,
        ),
    ),
)
