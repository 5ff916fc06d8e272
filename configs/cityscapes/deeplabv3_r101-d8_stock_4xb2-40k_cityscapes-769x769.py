# DeepLab-v3 in MMSegmentation's recipe.
_base_ = './pspnet_r101-d8_stock_4xb2-40k_cityscapes-769x769.py'

model = dict(decode_head=dict(type='ASPPHead', dilations=(1, 12, 24, 36)))
