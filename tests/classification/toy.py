"""A tiny classifier, tiny data and a Runner for the tests of training."""

from __future__ import annotations

import copy
import itertools

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import Dataset

import mmseg_isda.classification  # noqa: F401  (registers the loss and the hook)
from mmseg_isda.checkpoints.reading import allow_checkpoint_classes
from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.engine.binding import tapped_losses

CLASSES, FEATURES = 4, 6
_RUNS = itertools.count()


@MODELS.register_module(force=True)
class ToyBackbone(nn.Module):
    """Two convolutions; a tuple of one (N, 6, 4, 4) map, as backbones of MMPretrain return."""

    def __init__(self, channels: int = FEATURES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.conv2(self.bn(self.conv1(x)).relu()),)


class ToyImages(Dataset):
    """Images of 8x8 pixels whose colour tells the class; class 3 is rare."""

    metainfo = dict(classes=tuple('abcd'))

    def __init__(self, length: int = 24) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        label = 3 if index % 8 == 7 else index % 3
        noise = 50 * torch.randn(3, 8, 8, generator=generator)
        image = (60 * label + noise).clamp(0, 255).to(torch.uint8)
        return dict(inputs=image, data_samples=DataSample().set_gt_label(label))


def head(loss: dict | None = None, **options) -> dict:
    loss = dict(type='ISDALoss') if loss is None else loss
    return dict(type='LinearClsHead', num_classes=CLASSES, in_channels=FEATURES, loss=loss, init_cfg=None) | options


def model(loss: dict | None = None, **options) -> dict:
    """Config of an ImageClassifier of a thousand weights."""
    return (
        dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[100.0] * 3, std=[60.0] * 3, num_classes=CLASSES),
            backbone=dict(type='ToyBackbone'),
            neck=dict(type='GlobalAveragePooling'),
            head=head(loss),
        )
        | options
    )


def build(config: dict):
    """The network in training mode, its ISDA losses bound and at strength 1.5."""
    init_default_scope('mmpretrain')
    network = MODELS.build(copy.deepcopy(config)).train()
    for loss in bind_isda_losses(network).values() if any(tapped_losses(network)) else ():
        loss.strength = 1.5
    return network


def batch(network, indices=range(8)) -> dict:
    images = ToyImages()
    items = [images[i] for i in indices]
    data = dict(inputs=[i['inputs'] for i in items], data_samples=[i['data_samples'] for i in items])
    return network.data_preprocessor(data, True)


def losses(network, indices=range(8)) -> dict:
    return network(**batch(network, indices), mode='loss')


def runner(work_dir, config: dict | None = None, *, epochs: int = 2, hooks=None, **options) -> Runner:
    """A Runner as tools/train.py makes it, of 3 iterations an epoch and a checkpoint after each."""
    loader = dict(batch_size=8, num_workers=0, collate_fn=dict(type='pseudo_collate'))
    settings = dict(
        model=copy.deepcopy(config or model()),
        work_dir=str(work_dir),
        train_dataloader=loader | dict(dataset=ToyImages(), sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=1),
        val_dataloader=loader | dict(dataset=ToyImages(8), sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=6, by_epoch=True)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1)
        ),
        custom_hooks=[dict(type='ISDAHook')] if hooks is None else hooks,
        default_scope='mmpretrain',
        # Loggers and message hubs are kept by name: a run that shared them would see another's history.
        experiment_name=f'toy_{next(_RUNS)}',
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    settings.update(options)
    allow_checkpoint_classes()
    return Runner(**settings)
