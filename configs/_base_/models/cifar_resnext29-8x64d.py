# ResNeXt-29, 8x64d: 34.43 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CIFARResNeXt', depth=29, groups=8, width_per_group=64),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=1024,
        init_cfg=None,  # that of nn.Linear
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
