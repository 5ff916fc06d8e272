_base_ = './pspnet_r18-d8_mean-teacher_1-4_8k_camvid-360x480.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 12, 24, 36)))
