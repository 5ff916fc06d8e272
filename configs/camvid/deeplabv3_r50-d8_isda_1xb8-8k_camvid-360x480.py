_base_ = './deeplabv3_r50-d8_1xb8-8k_camvid-360x480.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
)
