_base_ = './shake-shake-26-2x32d_b64_cifar10.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.cutout_pipeline))
