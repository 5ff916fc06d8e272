# ResNet-152: 60.19 M parameters.
_base_ = './resnet50_8xb64_imagenet.py'

model = dict(backbone=dict(depth=152))
