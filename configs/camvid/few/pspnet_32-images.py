# A small dilated PSPNet from random weights on 32 images: some 120 epochs, about a minute of one CPU core.
_base_ = [
    '../../_base_/models/pspnet_slim.py',
    '../../_base_/datasets/camvid_90x120_few.py',
    '../../_base_/schedules/schedule_8k.py',
    '../../_base_/default_runtime.py',
]

model = dict(data_preprocessor=dict(size=(90, 120)), decode_head=dict(num_classes=11))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=s, keep_ratio=True) for s in ((90, 68), (120, 90), (150, 113), (180, 135))],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=500, by_epoch=False)]
train_cfg = dict(max_iters=500, val_interval=500)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=500, max_keep_ckpts=1))
