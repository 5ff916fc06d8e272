# Shake-Shake 26 2x112d: 36.44 M parameters.
_base_ = './shake-shake-26-2x32d_b64_cifar100.py'

model = dict(backbone=dict(base_channels=112), head=dict(in_channels=448))
