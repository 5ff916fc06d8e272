_base_ = './deeplabv3_r50-d8_1xb8-8k_camvid-360x480.py'

model = dict(
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
