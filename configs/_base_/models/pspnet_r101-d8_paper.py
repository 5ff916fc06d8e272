# PSPNet as the ISDA paper trained it (Table 7). It differs from MMSegmentation's usual network in the input (BGR,
# mean only), the stem (64-64-128), the dilation of each stage's first block, the heads' activation, the auxiliary
# head's width, and in a loss averaged over the pixels that are not ignored.
norm_cfg = dict(type='SyncBN', requires_grad=True)
act_cfg = dict(type='LeakyReLU', negative_slope=0.01)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[104.007, 116.669, 122.679],  # blue, green, red
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_val=0,  # padded after the mean is taken off: 0 is the mean
        seg_pad_val=255,
    ),
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        stem_channels=128,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=False,
        norm_cfg=norm_cfg,
        # Made by tools/convert_csail_resnet.py from MIT CSAIL's resnet101-imagenet.pth
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet101_csail.pth'),
    ),
    decode_head=dict(
        type='PSPHead',  # pools 1, 2, 3, 6: the host's default
        in_channels=2048,
        in_index=3,
        channels=512,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0, avg_non_ignore=True),
    ),
    # The authors' 3x3 convolution here has a bias, this one has none: the batch norm that follows takes any bias
    # off again, so the function is the same.
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=2,
        channels=512,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
