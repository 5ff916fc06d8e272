# SGD with Nesterov's momentum and weight decay on every parameter; the learning rate falls tenfold twice.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[80, 120], gamma=0.1)]

train_cfg = dict(by_epoch=True, max_epochs=160, val_interval=1)
val_cfg = dict()
test_cfg = dict()
# For another batch size: --cfg-options auto_scale_lr.enable=True
auto_scale_lr = dict(base_batch_size=128)
