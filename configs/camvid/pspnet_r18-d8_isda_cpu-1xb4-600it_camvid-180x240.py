# lambda_0 is 1, not the paper's 7.5: so short a training from random weights cannot answer a stronger augmentation
# (see the README's table).
_base_ = './pspnet_r18-d8_cpu-1xb4-600it_camvid-180x240.py'

model = dict(
    decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=1.0)),
    auxiliary_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=1.0)),
)
