# Shake-Shake 26 2x32d: 2.989 M parameters, counted as the paper does; idle_shortcuts=False drops those without use.
_base_ = './cifar_resnet32.py'

model = dict(
    backbone=dict(type='ShakeShake', depth=26, base_channels=32, idle_shortcuts=True), head=dict(in_channels=128)
)
