_base_ = './shake-shake-26-2x32d_b64_cifar100.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.autoaugment_pipeline))
