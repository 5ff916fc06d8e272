"""A tiny segmentation task that tools and runners can be tried on: images on disk, a config, a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

CLASSES = ('left', 'right', 'ground', 'never')
COLOURS = np.array([[40, 90, 200], [200, 60, 30], [90, 220, 90]])


def write_dataset(root: Path, *, train: int = 4, val: int = 3, size: tuple[int, int] = (48, 64)) -> None:
    """Writes images of three regions, whose borders move from image to image, and their labels."""
    rng = np.random.default_rng(0)
    for split, count in (('train', train), ('val', val)):
        for kind in ('img', 'ann'):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            label = np.zeros(size, np.uint8)
            label[:, 20 + 4 * index :] = 1
            label[30:] = 2
            image = COLOURS[label] + rng.integers(-30, 30, (*size, 3))
            label[:2] = 255
            cv2.imwrite(str(root / 'img' / split / f'{index}.png'), image.astype(np.uint8))
            cv2.imwrite(str(root / 'ann' / split / f'{index}.png'), label)


def _head(kind: str, channels: int, index: int, **options: Any) -> dict:
    return dict(
        type=kind,
        in_channels=channels,
        in_index=index,
        channels=8,
        num_classes=len(CLASSES),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
        **options,
    )


def _model() -> dict:
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, pad_val=0, seg_pad_val=255, size=(32, 32)
        ),
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            base_channels=8,
            stem_channels=8,
            dilations=(1, 1, 2, 4),
            strides=(1, 2, 1, 1),
            norm_cfg=dict(type='SyncBN', requires_grad=True),
        ),
        decode_head=_head('PSPHead', 64, 3, pool_scales=(1, 2)),
        auxiliary_head=_head('FCNHead', 32, 2, num_convs=1),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


def _dataset(root: Path, split: str, *augment: dict) -> dict:
    return dict(
        type='BaseSegDataset',
        metainfo=dict(classes=CLASSES, palette=[[i, i, i] for i in range(len(CLASSES))]),
        data_root=str(root),
        data_prefix=dict(img_path=f'img/{split}', seg_map_path=f'ann/{split}'),
        img_suffix='.png',
        seg_map_suffix='.png',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *augment, dict(type='PackSegInputs')],
    )


def tiny_settings(root: Path, *, iterations: int = 2) -> dict:
    """Settings of a config that trains a PSPNet of a few thousand weights on :func:`write_dataset`'s images."""
    test = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=_dataset(root, 'val'),
    )
    return dict(
        default_scope='mmseg',
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        log_processor=dict(by_epoch=False),
        model=_model(),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=_dataset(root, 'train', dict(type='RandomCrop', crop_size=(32, 32))),
        ),
        test_dataloader=test,
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=1000),
        test_cfg=dict(type='TestLoop'),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=iterations),
        ),
        visualizer=dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'),
    )


def write_config(path: Path, settings: dict) -> Path:
    """Writes settings as a config file."""
    Config(settings).dump(str(path))
    return path
