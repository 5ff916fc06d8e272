_base_ = './cifar_resnet_160e.py'

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[80, 120, 160], gamma=0.1)]
train_cfg = dict(max_epochs=200)
