# CNN-13 (Table 10 of the paper), 3.122 M parameters with ten classes, trained on labeled and unlabeled images.
model = dict(
    type='SemiSupervisedClassifier',
    backbone=dict(type='CNN13'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=128,
        init_cfg=None,  # that of nn.Linear
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)
