_base_ = './schedule_40k.py'

param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=8000, by_epoch=False)]
train_cfg = dict(max_iters=8000, val_interval=1000)
