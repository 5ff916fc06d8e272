_base_ = './deeplabv3_32-images.py'

train_dataloader = dict(dataset=dict(num_images=64))
val_dataloader = dict(dataset=dict(num_images=64))
