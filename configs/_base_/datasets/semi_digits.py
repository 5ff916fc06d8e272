# scikit-learn's digits, of which 50 of the 1,297 training images keep their labels: five a class. The draw is seeded;
# for another one set train_dataloader.dataset.seed.
_base_ = './digits.py'

branches = ['sup', 'unsup_teacher', 'unsup_student']
crop_and_pack = [dict(type='RandomCrop', crop_size=8, padding=1), dict(type='PackInputs')]
sup_pipeline = [dict(type='MultiBranch', branch_field=branches, sup=crop_and_pack)]
one_view = [dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack)]
two_views = [dict(type='MultiBranch', branch_field=branches, unsup_student=crop_and_pack, unsup_teacher=crop_and_pack)]
images = dict(type='HandwrittenDigits', split='train')

train_dataloader = dict(
    sampler=dict(_delete_=True, type='MultiSourceSampler', batch_size=64, source_ratio=[1, 1]),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        _delete_=True,
        type='SemiSupervisedDataset',
        num_labeled=50,
        seed=0,
        sup_pipeline=sup_pipeline,
        unsup_pipeline=one_view,
        dataset=images,
    ),
)
