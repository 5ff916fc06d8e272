# PSPNet for small images: three stages of a ResNet-18 with a quarter of its channels, at an eighth of the size.
_base_ = './pspnet_r50-d8.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        depth=18,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        out_indices=(0, 1, 2),
        stem_channels=16,
        base_channels=16,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(in_channels=64, in_index=2, channels=32, norm_cfg=norm_cfg),
    auxiliary_head=None,
)
