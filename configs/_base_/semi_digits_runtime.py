# Twelve passes over the unlabeled digits, in a quarter of a minute of one CPU core.
_base_ = ['./classification_runtime.py', './schedules/cifar_resnet_160e.py']

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=12, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=12, val_begin=10)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=12), last_epochs=dict(num_epochs=3))
