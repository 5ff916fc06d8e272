"""A tiny network, tiny data and a Runner for the tests of training."""

from __future__ import annotations

import copy

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

import mmseg_isda  # noqa: F401  (registers the loss and the hook)
from mmseg_isda.checkpoints.reading import allow_checkpoint_classes
from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.engine.binding import tapped_losses

CLASSES = 4


class ToyScenes(Dataset):
    """Images whose colour tells the class, with an ignored strip; class 3 is rare."""

    metainfo = dict(classes=tuple('abcd'), palette=[[i, i, i] for i in range(CLASSES)])

    def __init__(self, length: int = 8, size: int = 32, first: int = 0) -> None:
        self.length, self.size, self.first = length, size, first

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(self.first + index)
        cells = torch.randint(0, CLASSES if index % 4 == 3 else CLASSES - 1, (4, 4), generator=generator)
        labels = cells.repeat_interleave(self.size // 4, 0).repeat_interleave(self.size // 4, 1)
        noise = 40 * torch.randn(3, self.size, self.size, generator=generator)
        image = (60 * labels + noise).clamp(0, 255).to(torch.uint8)
        labels = labels.clone()
        labels[:3] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels[None]))
        sample.set_metainfo(dict(img_shape=(self.size, self.size), ori_shape=(self.size, self.size)))
        return dict(inputs=image, data_samples=sample)


def head(kind: str = 'FCNHead', loss: dict | list | None = None, **options) -> dict:
    loss = dict(type='ISDASegLoss') if loss is None else loss
    extra = dict(num_convs=1, concat_input=False) if kind == 'FCNHead' else {}
    common = dict(type=kind, in_channels=64, in_index=3, channels=8, num_classes=CLASSES, norm_cfg=dict(type='BN'))
    return {**common, 'loss_decode': loss, 'dropout_ratio': 0.1, **extra, **options}


def model(loss: dict | list | None = None, decode: dict | None = None, auxiliary: bool = True, **options) -> dict:
    """Config of an EncoderDecoder of some 0.1 M parameters with output stride 8."""
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[100.0] * 3, std=[60.0] * 3, size=(32, 32), seg_pad_val=255
        ),
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=8,
            base_channels=8,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=dict(type='BN'),
        ),
        decode_head=decode or head('PSPHead', loss, pool_scales=(1, 2)),
        auxiliary_head=head(loss=loss, in_channels=32, in_index=2) if auxiliary else None,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
        **options,
    )


def build(config: dict):
    """The network in training mode, its ISDA losses bound and at strength 1.5."""
    init_default_scope('mmseg')
    network = MODELS.build(copy.deepcopy(config)).train()
    for loss in bind_isda_losses(network).values() if any(tapped_losses(network)) else ():
        loss.strength = 1.5
    return network


def batch(network, indices=(0, 1, 2, 3)) -> dict:
    scenes = ToyScenes()
    items = [scenes[i] for i in indices]
    data = dict(inputs=[i['inputs'] for i in items], data_samples=[i['data_samples'] for i in items])
    return network.data_preprocessor(data, True)


def losses(network, indices=(0, 1, 2, 3)) -> dict:
    return network(**batch(network, indices), mode='loss')


def runner(work_dir, config: dict | None = None, *, iters: int = 4, hooks=None, dataset=None, **options) -> Runner:
    """A Runner as tools/train.py makes it, with a checkpoint at the end of every 2 iterations."""
    optimizer = dict(type='SGD', lr=0.05, momentum=0.9)
    settings = dict(
        model=copy.deepcopy(config or model()),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=dataset or ToyScenes(),
            sampler=dict(type='InfiniteSampler', shuffle=True),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=10**6),
        optim_wrapper=dict(type='OptimWrapper', optimizer=optimizer),
        param_scheduler=[dict(type='PolyLR', eta_min=0, power=0.9, end=20, by_epoch=False)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='ISDAHook')] if hooks is None else hooks,
        default_scope='mmseg',
        experiment_name=f'toy{id(work_dir)}_{len(str(work_dir))}_{iters}',
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    settings.update(options)
    allow_checkpoint_classes()
    return Runner(**settings)
