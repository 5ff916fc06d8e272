_base_ = './pspnet_32-images.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 3, 6, 9)))
