# DeepLab-v3 as the ISDA paper trained it (Table 7): narrow ASPP branches and a 1x1 bottleneck on PSPNet's network.
_base_ = './pspnet_r101-d8_4xb2-40k_cityscapes-769x769.py'

model = dict(decode_head=dict(type='SlimASPPHead', branch_channels=256, dilations=(1, 12, 24, 36)))
