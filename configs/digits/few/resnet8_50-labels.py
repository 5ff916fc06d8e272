_base_ = ['./resnet8_10-labels.py']

train_dataloader = dict(dataset=dict(num_images=500))
test_dataloader = dict(dataset=dict(num_images=500))
