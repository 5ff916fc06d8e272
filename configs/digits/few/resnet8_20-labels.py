_base_ = ['./resnet8_10-labels.py']

train_dataloader = dict(dataset=dict(num_images=200))
test_dataloader = dict(dataset=dict(num_images=200))
