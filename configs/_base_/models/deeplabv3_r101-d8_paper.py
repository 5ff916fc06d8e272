# DeepLab-v3 as the ISDA paper trained it: the same network with narrow ASPP branches and a 1x1 bottleneck.
_base_ = './pspnet_r101-d8_paper.py'

model = dict(decode_head=dict(type='SlimASPPHead', branch_channels=256, dilations=(1, 12, 24, 36)))
