_base_ = './pspnet_r18-d8_mean-teacher_1-8_8k_camvid-360x480.py'

split = '{{fileDirname}}/splits/1-4_seed-0'
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(**_base_.labeled, ann_file=f'{split}_labeled.txt'),
            dict(**_base_.unlabeled, ann_file=f'{split}_unlabeled.txt'),
        ]
    )
)
