_base_ = './deeplabv3_r50-d8_4xb2-40k_cityscapes-769x769.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
)
