# Few CamVid images at a quarter of their size, kept in memory; each seed of tools/train.py draws its own. Settings are
# chosen by the training images that are left over; `val` is for the report.
_base_ = './camvid_180x240.py'

train_dataloader = dict(
    dataset=dict(
        num_images=32,
        dataset=dict(
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='Resize', scale=(120, 90), keep_ratio=True),
            ]
        ),
    )
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(120, 90), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: scored at full size
    dict(type='PackSegInputs'),
]
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='rest',
        num_images=32,
        dataset=dict(
            type='CamVidDataset',
            data_root='data/camvid',
            data_prefix=dict(img_path='train', seg_map_path='trainannot'),
            pipeline=test_pipeline,
        ),
    )
)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
