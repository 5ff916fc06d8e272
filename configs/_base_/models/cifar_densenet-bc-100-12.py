# DenseNet-BC-100-12: 0.769 M parameters.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='CIFARDenseNet', depth=100, growth_rate=12),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=342,
        init_cfg=None,  # that of nn.Linear
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
