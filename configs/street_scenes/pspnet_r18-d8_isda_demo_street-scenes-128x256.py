_base_ = './pspnet_r18-d8_demo_street-scenes-128x256.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss')),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss')),
)
custom_hooks = [dict(type='ISDAHook')]
