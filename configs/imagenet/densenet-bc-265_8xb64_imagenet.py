# DenseNet-BC-265: 33.34 M parameters.
_base_ = './densenet-bc-121_8xb64_imagenet.py'

model = dict(
    backbone=dict(arch=dict(_delete_=True, growth_rate=32, depths=[6, 12, 64, 48], init_channels=64)),
    head=dict(in_channels=2688),
)
