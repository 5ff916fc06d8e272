_base_ = './cifar_resnet_160e.py'

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[150, 200, 250], gamma=0.1)]
train_cfg = dict(max_epochs=300)
auto_scale_lr = dict(base_batch_size=64)
