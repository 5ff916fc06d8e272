_base_ = './pi_cnn13_cifar100-10000.py'

train_dataloader = dict(dataset=dict(num_labeled=20000))
