# PSPNet as the ISDA paper trained it (Table 7), where it differs from MMSegmentation's: BGR input with the mean only,
# a stem of 64-64-128, full dilation from each stage's first block on, leaky heads, a wider auxiliary head, and a loss
# averaged over the pixels that are not ignored. The authors' auxiliary convolution has a bias; the batch norm after it
# cancels any bias, so the function is the same.
_base_ = './pspnet_r50-d8.py'

act_cfg = dict(type='LeakyReLU', negative_slope=0.01)
model = dict(
    data_preprocessor=dict(
        mean=[104.007, 116.669, 122.679],  # blue, green, red
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_val=0,  # padding follows normalization: 0 is the mean
    ),
    backbone=dict(
        depth=101,
        stem_channels=128,
        contract_dilation=False,
        # Made from MIT CSAIL's resnet101-imagenet.pth: mmseg-isda convert IN OUT --target mmseg
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/resnet101_csail.pth'),
    ),
    decode_head=dict(act_cfg=act_cfg, align_corners=True, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(channels=512, act_cfg=act_cfg, align_corners=True, loss_decode=dict(avg_non_ignore=True)),
)
