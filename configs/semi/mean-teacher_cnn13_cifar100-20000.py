_base_ = './mean-teacher_cnn13_cifar100-10000.py'

train_dataloader = dict(dataset=dict(num_labeled=20000))
