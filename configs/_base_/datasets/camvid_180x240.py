# CamVid at half size, kept in memory, flipped and otherwise shown whole: for fine-tuning on a CPU core.
_base_ = './camvid.py'

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        dataset=dict(
            type='CamVidDataset',
            data_root='data/camvid',
            data_prefix=dict(img_path='train', seg_map_path='trainannot'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='Resize', scale=(240, 180), keep_ratio=True),
            ],
        ),
        pipeline=[dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')],
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at full size
    dict(type='PackSegInputs'),
]
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
