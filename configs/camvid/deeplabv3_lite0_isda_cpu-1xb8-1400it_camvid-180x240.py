_base_ = './deeplabv3_lite0_cpu-1xb8-1400it_camvid-180x240.py'

model = dict(decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=2.5)))
