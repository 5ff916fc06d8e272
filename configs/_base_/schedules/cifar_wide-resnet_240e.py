_base_ = './cifar_resnet_160e.py'

optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[60, 120, 160, 200], gamma=0.2)]
train_cfg = dict(max_epochs=240)
