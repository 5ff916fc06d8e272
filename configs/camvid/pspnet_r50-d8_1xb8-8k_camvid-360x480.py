# PSPNet, ResNet-50, on CamVid from scratch: 1 GPU x 8 images. For pretrained weights add
#   --cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=open-mmlab://resnet50_v1c
_base_ = [
    '../_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_8k.py',
    '../_base_/default_runtime.py',
]

norm_cfg = dict(type='BN', requires_grad=True)  # one process; 'SyncBN' for several
model = dict(
    data_preprocessor=dict(size=(360, 480)),
    backbone=dict(norm_cfg=norm_cfg),
    decode_head=dict(num_classes=11, norm_cfg=norm_cfg),
    auxiliary_head=dict(num_classes=11, norm_cfg=norm_cfg),
)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2))
