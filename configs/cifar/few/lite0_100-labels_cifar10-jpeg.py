# EfficientNet-Lite0 with its ImageNet weights, fine-tuned on 100 photos a class at 96x96, on one CPU core; tested on
# 2,000 others. Each seed of tools/train.py draws its own of the same 3,000.
_base_ = [
    '../../_base_/datasets/cifar10_jpeg.py',
    '../../_base_/schedules/cifar_resnet_160e.py',
    '../../_base_/classification_runtime.py',
]

data_preprocessor = dict(num_classes=10, mean=[127.0] * 3, std=[128.0] * 3, to_rgb=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite0_mmpretrain.pth', prefix='backbone.'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=1280,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
photos = dict(
    type='SubsetDataset',
    num_images=3000,
    seed=0,
    dataset=dict(type='SmallImageDataset', data_root='data/cifar10', source='train.tar.xz'),
)
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='chosen',
        num_images=1000,
        dataset=photos,
        pipeline=[
            dict(type='Resize', scale=96),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='rest',
        num_images=1000,
        dataset=photos,
        pipeline=[dict(type='Resize', scale=96), dict(type='PackInputs')],
    ),
)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=20, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(
    checkpoint=dict(interval=20, max_keep_ckpts=1),
    last_epochs=dict(num_epochs=1),
    fine_tuning=dict(
        type='FineTuningHook',
        frozen=[f'backbone.timm_model.{name}' for name in ('conv_stem', 'bn1', 'blocks.0', 'blocks.1', 'blocks.2')],
        norm_eval=['backbone'],
        channels_last=True,
    ),
)
