# Cityscapes as the ISDA paper trained on it: 15 scales of 1024x2048, uniform crops, mirroring, no colour change;
# tested at full size.
_base_ = './cityscapes_769x769.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales=[(round(204.8 * tenths), round(102.4 * tenths)) for tenths in range(7, 22)],  # 0.7, 0.8, ... 2.1
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=(769, 769)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
