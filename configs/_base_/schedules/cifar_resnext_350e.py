_base_ = './cifar_resnet_160e.py'

optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[150, 225, 300], gamma=0.1)]
train_cfg = dict(max_epochs=350)
