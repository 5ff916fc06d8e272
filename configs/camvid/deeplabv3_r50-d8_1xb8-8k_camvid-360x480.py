_base_ = './pspnet_r50-d8_1xb8-8k_camvid-360x480.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 12, 24, 36)))
