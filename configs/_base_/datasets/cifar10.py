# CIFAR-10: 50,000 images to train, 10,000 to test on, downloaded to data/cifar10 as training begins. As the paper does,
# the networks are validated on the test images; datasets/cifar10_jpeg.py shows how to hold training images out instead.
data_preprocessor = dict(num_classes=10, mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], to_rgb=False)

crop_and_flip = [dict(type='ReflectCrop', crop_size=32, padding=4), dict(type='RandomFlip', prob=0.5)]
cutout = [dict(type='ClippedCutout', length=16), dict(type='PackInputs')]
train_pipeline = [*crop_and_flip, dict(type='PackInputs')]
test_pipeline = [dict(type='PackInputs')]
# The rows of Table 4. RandAugment's settings are those that its authors found for Wide-ResNet-28-10 and, in the second
# line, for Shake-Shake 2x96d; the ISDA paper does not name its own.
cutout_pipeline = [*crop_and_flip, *cutout]
autoaugment_pipeline = [*crop_and_flip, dict(type='CIFARAutoAugment'), *cutout]
randaugment_pipeline = [*crop_and_flip, dict(type='PillowRandAugment', num_ops=3, magnitude=5), *cutout]
shake_randaugment_pipeline = [*crop_and_flip, dict(type='PillowRandAugment', num_ops=3, magnitude=9), *cutout]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='CIFAR10', data_root='data/cifar10', split='test', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
