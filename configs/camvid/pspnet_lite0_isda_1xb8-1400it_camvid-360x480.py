_base_ = './pspnet_lite0_1xb8-1400it_camvid-360x480.py'

model = dict(decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=1)))
