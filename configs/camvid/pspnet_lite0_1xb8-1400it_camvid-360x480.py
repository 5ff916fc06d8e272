# As the config for a CPU, at full size: a minute or two on a GPU.
_base_ = './pspnet_lite0_cpu-1xb8-1400it_camvid-180x240.py'

load_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=load_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=[*load_pipeline, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=ratio, keep_ratio=True) for ratio in (0.75, 1.0, 1.25, 1.5)],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
model = dict(data_preprocessor=dict(size=(360, 480)))
