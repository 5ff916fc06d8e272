# ResNet-101: 44.55 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=101, zero_init_residual=False),
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
