_base_ = './deeplabv3_r101-d8_4xb2-40k_cityscapes-769x769.py'

model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint='pretrained/resnet50_csail.pth')))
