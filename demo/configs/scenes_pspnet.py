# PSPNet with a slim ResNet-18, from random weights, on few drawn street scenes (python -m demo.scenes): each seed has
# labeled images of its own, and sees each of them so often that it overfits. `make demo` trains it and its ISDA twin.
_base_ = [
    '../../configs/_base_/models/pspnet_r50-d8.py',
    '../../configs/_base_/schedules/schedule_40k.py',
    '../../configs/_base_/default_runtime.py',
]

labeled, iterations = 16, 400
crop_size = (96, 128)

data_root = 'data/scenes'
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='SubsetDataset',
        num_images=labeled,
        dataset=dict(
            type='CityscapesDataset',
            data_root=data_root,
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
            pipeline=load,
        ),
        pipeline=[
            dict(type='RandomResize', scale=(256, 128), ratio_range=(0.75, 1.25), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
kept_back = dict(
    type='CityscapesDataset',
    data_root=data_root,
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    pipeline=[*load, dict(type='PackSegInputs')],
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SubsetDataset', num_images=24, seed=0, dataset=kept_back),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SubsetDataset', part='rest', num_images=24, seed=0, dataset=kept_back),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(depth=18, stem_channels=16, base_channels=16),  # stages of 16, 32, 64 and 128 channels
    decode_head=dict(in_channels=128, in_index=3, channels=64),
    auxiliary_head=dict(in_channels=64, in_index=2, channels=32),
)

# AdamW in place of the paper's SGD: from random weights, in so few iterations, it learns about twice as much.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-3))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=iterations, by_epoch=False),
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=100)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200, max_keep_ckpts=2))
