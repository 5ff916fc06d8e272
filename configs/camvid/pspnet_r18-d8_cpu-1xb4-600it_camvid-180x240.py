# A short run for two CPU cores (minutes): half-size images, small crops, 600 iterations. For another length set
# train_cfg.max_iters, train_cfg.val_interval and param_scheduler.0.end with --cfg-options.
_base_ = './pspnet_r18-d8_1xb8-8k_camvid-360x480.py'

crop_size = (176, 240)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(240, 180), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at full size
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=s, keep_ratio=True) for s in ((180, 135), (240, 180), (300, 225), (360, 270))],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(data_preprocessor=dict(size=crop_size))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=600, by_epoch=False)]
train_cfg = dict(max_iters=600, val_interval=300)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=300))
