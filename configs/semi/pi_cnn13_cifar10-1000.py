_base_ = './pi_cnn13_cifar10-4000.py'

train_dataloader = dict(dataset=dict(num_labeled=1000))
