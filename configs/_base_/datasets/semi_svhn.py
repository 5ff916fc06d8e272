# SVHN, of which 500 of the 73,257 training images keep their labels: translated, neither flipped nor whitened.
_base_ = './semi_cifar10.py'

data_preprocessor = dict(mean=[127.5] * 3, std=[255.0] * 3, to_rgb=False)
branches, crop_and_pack = _base_.branches, _base_.crop_and_pack
one_view = [dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack)]
two_views = [dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack, unsup_teacher=crop_and_pack)]

train_dataloader = dict(
    dataset=dict(
        num_labeled=500,
        split_file='data/splits/svhn_{num_labeled}_seed-{seed}.json',
        sup_pipeline=[dict(type='MultiBranch', branch_field=branches, sup=crop_and_pack)],
        unsup_pipeline=one_view,
        dataset=dict(_delete_=True, type='SVHN', data_root='data/svhn', split='train'),
    )
)
val_dataloader = dict(
    dataset=dict(_delete_=True, type='SVHN', data_root='data/svhn', split='test', pipeline=[dict(type='PackInputs')])
)
test_dataloader = val_dataloader
