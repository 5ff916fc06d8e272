_base_ = './vat_cnn13_cifar100-10000.py'

train_dataloader = dict(dataset=dict(num_labeled=20000))
