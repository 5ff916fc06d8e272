# DeepLab-v3 as MMSegmentation usually has it: PSPNet's network with another head.
_base_ = './pspnet_r50-d8.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 12, 24, 36)))
