_base_ = './wrn-28-10_b128_cifar100.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.randaugment_pipeline))
