default_scope = 'mmpretrain'
# Registers ISDALoss, ISDAHook, the networks, data sets and transforms, under the host's own train script too.
custom_imports = dict(imports=['mmseg_isda.classification'], allow_failed_imports=False)
# The paper reports the mean of the last ten epochs.
custom_hooks = [dict(type='LastEpochsMean', num_epochs=10)]

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
