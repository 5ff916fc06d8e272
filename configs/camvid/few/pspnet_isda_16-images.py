_base_ = './pspnet_16-images.py'

model = dict(decode_head=dict(loss_decode=dict(type='ISDASegLoss', lambda_0=0.5)))
