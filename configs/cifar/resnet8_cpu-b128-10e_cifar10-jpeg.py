# A short run for two CPU cores (some ten minutes): ResNet-8, ten epochs. For another length set train_cfg.max_epochs
# and param_scheduler.0.T_max with --cfg-options.
_base_ = './resnet32_b128_cifar10-jpeg.py'

model = dict(backbone=dict(depth=8))
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=10, eta_min=0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=10)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=1), last_epochs=dict(num_epochs=3))
