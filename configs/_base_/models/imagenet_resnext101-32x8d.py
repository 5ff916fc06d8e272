# ResNeXt-101, 32x8d: 88.79 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNeXt', depth=101, groups=32, width_per_group=8, zero_init_residual=False),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        init_cfg=None,  # that of nn.Linear
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
