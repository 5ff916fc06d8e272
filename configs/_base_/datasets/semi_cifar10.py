# CIFAR-10, whitened by ZCA, of which 4,000 of the 50,000 training images keep their labels. As the paper does, networks
# are validated on the test images; to choose settings on a quarter of the labels instead, search with --hold-out.
# Other draws: train_dataloader.dataset.seed. They are kept in data/splits, which tools/make_split.py fills beforehand.
data_preprocessor = dict(num_classes=10)  # whitening normalizes
whitened = dict(type='ZCADataset', matrix='data/cifar10/zca.npz', mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])

branches = ['sup', 'unsup_teacher', 'unsup_student']
flip = dict(type='RandomFlip', prob=0.5)
crop_and_pack = [dict(type='RandomCrop', crop_size=32, padding=2), dict(type='PackInputs')]
# One view of an unlabeled image; two with one flip and a translation each; two with a flip and a translation each.
one_view = [flip, dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack)]
shared_flip = [
    flip,
    dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack, unsup_teacher=crop_and_pack),
]
two_views = [
    dict(
        type='MultiBranch',
        branch_field=branches,
        unsup_student=[flip, *crop_and_pack],
        unsup_teacher=[flip, *crop_and_pack],
    )
]

train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='MultiSourceSampler', batch_size=256, source_ratio=[1, 1]),
    dataset=dict(
        type='SemiSupervisedDataset',
        num_labeled=4000,
        seed=0,
        split_file='data/splits/cifar10_{num_labeled}_seed-{seed}.json',
        sup_pipeline=[flip, dict(type='MultiBranch', branch_field=branches, sup=crop_and_pack)],
        unsup_pipeline=one_view,
        dataset=dict(**whitened, fit=True, dataset=dict(type='CIFAR10', data_root='data/cifar10', split='train')),
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **whitened,
        pipeline=[dict(type='PackInputs')],
        dataset=dict(type='CIFAR10', data_root='data/cifar10', split='test'),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
