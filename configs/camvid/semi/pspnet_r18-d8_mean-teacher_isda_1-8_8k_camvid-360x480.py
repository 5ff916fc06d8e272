_base_ = './pspnet_r18-d8_mean-teacher_1-8_8k_camvid-360x480.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
    semi_train_cfg=dict(eta_1=1.0),
)
