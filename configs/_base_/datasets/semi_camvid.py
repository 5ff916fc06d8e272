# CamVid, of which a share of the training images keeps its labels: a config names the two lists of images. The views of
# an unlabeled image show the same pixels; colors are changed for the student alone.
_base_ = './camvid.py'

crop_size = (360, 480)
branches = ['sup', 'unsup_teacher', 'unsup_student']
geometry = [
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
]
colors_and_pack = [dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]
images = dict(
    type='CamVidDataset', data_root='data/camvid', data_prefix=dict(img_path='train', seg_map_path='trainannot')
)
labeled = dict(
    **images,
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        *geometry,
        dict(type='MultiBranch', branch_field=branches, sup=colors_and_pack),
    ],
)
unlabeled = dict(
    **images,
    pipeline=[
        dict(type='LoadImageFromFile'),
        *geometry,
        dict(
            type='MultiBranch',
            branch_field=branches,
            unsup_student=colors_and_pack,
            unsup_teacher=[dict(type='PackSegInputs')],
        ),
    ],
)

# num_batches: of the 8k schedule, so that the workers start once.
train_dataloader = dict(
    sampler=dict(_delete_=True, type='MultiSourceSampler', batch_size=8, source_ratio=[1, 1], num_batches=8000),
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[labeled, unlabeled]),
)
