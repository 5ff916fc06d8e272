# Shake-Shake 26 2x32d: 2.989 M parameters, as the paper counts; idle_shortcuts=False leaves out those without use.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ShakeShake', depth=26, base_channels=32, idle_shortcuts=True),
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
