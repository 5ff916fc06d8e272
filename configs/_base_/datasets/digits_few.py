# Ten labeled digits a class to train on, the other 799 of the same half of the images to test on; each seed of
# tools/train.py draws its own. The other half is for validation; settings were chosen there:
# python -m benchmarks.few_labels choose
data_preprocessor = dict(num_classes=10, mean=[77.8], std=[95.9], to_rgb=False)

half = dict(
    type='SubsetDataset',
    part='rest',
    num_images=898,
    seed=0,
    dataset=dict(type='HandwrittenDigits', split='all'),
)
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='SubsetDataset',
        part='chosen',
        num_images=100,
        dataset=half,
        pipeline=[dict(type='RandomCrop', crop_size=8, padding=1), dict(type='PackInputs')],
    ),
)
test_dataloader = dict(
    batch_size=400,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='SubsetDataset', part='rest', num_images=100, dataset=half, pipeline=[dict(type='PackInputs')]),
)
val_dataloader = dict(
    batch_size=400,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(half, part='chosen', pipeline=[dict(type='PackInputs')]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
