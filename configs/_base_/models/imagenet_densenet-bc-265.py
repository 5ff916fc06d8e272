# DenseNet-BC-265: 33.34 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='DenseNet',
        arch=dict(growth_rate=32, depths=[6, 12, 64, 48], init_channels=64),
        init_cfg=[
            dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
            dict(type='Constant', layer='_BatchNorm', val=1),
        ],
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2688,
        init_cfg=None,  # that of nn.Linear
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
    ),
)
