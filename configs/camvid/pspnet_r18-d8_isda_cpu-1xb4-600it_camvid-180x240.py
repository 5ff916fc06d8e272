_base_ = './pspnet_r18-d8_cpu-1xb4-600it_camvid-180x240.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=7.5)),
)
custom_hooks = [dict(type='ISDAHook')]
