_base_ = './pspnet_isda_32-images.py'

model = dict(decode_head=dict(loss_decode=dict(augment_at='label')))
