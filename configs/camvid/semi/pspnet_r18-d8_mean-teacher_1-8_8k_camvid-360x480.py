# Mean Teacher, an eighth of the training images labeled: 1 GPU, 4 labeled and 4 unlabeled images a batch.
_base_ = [
    '../../_base_/models/pspnet_r50-d8.py',
    '../../_base_/datasets/semi_camvid.py',
    '../../_base_/schedules/schedule_8k.py',
    '../../_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)  # one process; 'SyncBN' for several
model = dict(
    type='MeanTeacherSegmentor',
    data_preprocessor=dict(size=(360, 480)),
    backbone=dict(depth=18, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=512, channels=128, num_classes=11, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=256, channels=64, num_classes=11, norm_cfg=norm_cfg),
    semi_train_cfg=dict(eta_2=30.0, rampup=dict(end=2000, by_epoch=False), confidence=0.5),
)
default_hooks = dict(
    checkpoint=dict(interval=1000, max_keep_ckpts=2),
    mean_teacher=dict(type='MeanTeacherHook', momentum=0.001),
)
split = '{{fileDirname}}/splits/1-8_seed-0'
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(**_base_.labeled, ann_file=f'{split}_labeled.txt'),
            dict(**_base_.unlabeled, ann_file=f'{split}_unlabeled.txt'),
        ]
    )
)
