_base_ = './temporal-ensembling_cnn13_cifar10-4000.py'

train_dataloader = dict(dataset=dict(num_labeled=2000))
