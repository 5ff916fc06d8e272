_base_ = './pspnet_32-images.py'

train_dataloader = dict(dataset=dict(num_images=64))
val_dataloader = dict(dataset=dict(num_images=64))
