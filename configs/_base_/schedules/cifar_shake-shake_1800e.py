_base_ = './cifar_resnet_160e.py'

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=1800, eta_min=0)]
train_cfg = dict(max_epochs=1800)
auto_scale_lr = dict(base_batch_size=64)
