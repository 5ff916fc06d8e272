# PSPNet on ImageNet weights, fine-tuned on all 367 training images at half size: 30 epochs on one CPU core.
_base_ = [
    '../_base_/models/pspnet_lite0.py',
    '../_base_/datasets/camvid_180x240.py',
    '../_base_/schedules/schedule_8k.py',
    '../_base_/default_runtime.py',
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

model = dict(data_preprocessor=dict(size=(180, 240)))
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=1400, by_epoch=False)]
train_cfg = dict(max_iters=1400, val_interval=350)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(interval=350, max_keep_ckpts=2),
    # Frozen: the stem and the stages down to stride 8, the costliest and the most general.
    fine_tuning=dict(
        type='FineTuningHook',
        frozen=[f'backbone.timm_model.{name}' for name in ('conv_stem', 'bn1', 'blocks.0', 'blocks.1', 'blocks.2')],
        norm_eval=['backbone'],
        channels_last=True,
    ),
)
