# WGAN with gradient penalty on scikit-learn's digits, some four minutes of one CPU core. It writes generator.pt, which
# `tools/analyze.py CONFIG CHECKPOINT reverse --generator work_dirs/wgan_digits/generator.pt` maps features back with.
_base_ = ['../_base_/datasets/digits.py', '../_base_/classification_runtime.py']

custom_imports = dict(imports=['mmseg_isda.classification', 'mmseg_isda.analysis.gan'], allow_failed_imports=False)

model = dict(
    type='WGAN',
    channels=1,
    size=8,
    width=32,
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[127.5], std=[127.5]),
)
train_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline), drop_last=True)
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None

adam = dict(optimizer=dict(type='Adam', lr=5e-4, betas=(0.0, 0.9)))
optim_wrapper = dict(constructor='WGANOptimizers', generator=adam, critic=adam)
train_cfg = dict(by_epoch=True, max_epochs=150)
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    checkpoint=dict(type='CheckpointHook', interval=50, max_keep_ckpts=1),
    generator=dict(type='SaveGenerator'),
)
