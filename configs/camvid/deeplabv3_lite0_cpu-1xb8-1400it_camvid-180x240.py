_base_ = './pspnet_lite0_cpu-1xb8-1400it_camvid-180x240.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 2, 4, 6)))
