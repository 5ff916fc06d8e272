# CIFAR-10 as JPEG files, see cifar10_jpeg.py: 45,000 training images, of which 1,000 keep their labels, and 5,000 to
# validate on. Not whitened, so that everything starts in seconds; the paper's data is in semi_cifar10.py.
_base_ = './cifar10_jpeg.py'

branches = ['sup', 'unsup_teacher', 'unsup_student']
flip = dict(type='RandomFlip', prob=0.5)
crop_and_pack = [dict(type='RandomCrop', crop_size=32, padding=2), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    sampler=dict(_delete_=True, type='MultiSourceSampler', batch_size=64, source_ratio=[1, 1]),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        _delete_=True,
        type='SemiSupervisedDataset',
        num_labeled=1000,
        seed=0,
        sup_pipeline=[flip, dict(type='MultiBranch', branch_field=branches, sup=crop_and_pack)],
        unsup_pipeline=[
            flip,
            dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack, unsup_teacher=crop_and_pack),
        ],
        dataset=dict(
            type='SubsetDataset',
            part='rest',
            num_images=5000,
            seed=0,
            dataset=_base_.jpeg_images,
        ),
    ),
)
