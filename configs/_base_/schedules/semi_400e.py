# 400 passes over the unlabeled images (Appendix B): SGD with Nesterov's momentum, learning rate a cosine from .1 to 0.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=400, eta_min=0, convert_to_iter_based=True)]

train_cfg = dict(by_epoch=True, max_epochs=400, val_interval=1)
val_cfg = dict()
test_cfg = dict()
