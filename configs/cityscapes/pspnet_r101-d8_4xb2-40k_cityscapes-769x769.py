# PSPNet, ResNet-101, in the ISDA paper's recipe (Table 7): 4 GPUs x 2 images.
_base_ = [
    '../_base_/models/pspnet_r101-d8_paper.py',
    '../_base_/datasets/cityscapes_769x769_paper.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(769, 769)),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)),
)
