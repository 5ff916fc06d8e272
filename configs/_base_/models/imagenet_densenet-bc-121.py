# DenseNet-BC-121: 7.98 M parameters. MMPretrain has no initialization for it.
_base_ = './imagenet_resnet50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DenseNet',
        arch='121',
        init_cfg=[
            dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
            dict(type='Constant', layer='_BatchNorm', val=1),
        ],
    ),
    head=dict(in_channels=1024),
)
