# PSPNet with a slim ResNet-18, trained from scratch on synthetic street scenes (tools/make_street_scenes.py): small
# enough for two CPU cores and two minutes. tools/demo.py trains it and its ISDA twin.
_base_ = [
    '../_base_/models/pspnet_r50-d8.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

crop_size = (96, 192)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(256, 128), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
img_ratios = [0.75, 1.0, 1.25, 1.5]  # the paper's scales, for tools/test.py --protocols
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in img_ratios],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

data_root = 'data/street_scenes'
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(depth=18, stem_channels=32, base_channels=32),  # stages of 32, 64, 128 and 256 channels
    decode_head=dict(in_channels=256, in_index=3, channels=64),
    auxiliary_head=dict(in_channels=128, in_index=2, channels=32),
)

# AdamW in place of the paper's SGD: from scratch in so few iterations it learns about twice as much.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=1e-3))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=600, by_epoch=False),
    dict(type='LinearLR', start_factor=0.1, begin=0, end=50, by_epoch=False),
]
train_cfg = dict(max_iters=600, val_interval=100)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200, max_keep_ckpts=1))
