"""Linear heads and networks of MMPretrain with every loss that is compared, for ``head_cost.py`` and others."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from measure import ROOT, Call
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from workload import touch_buffers, training_step

import mmseg_isda.classification  # noqa: F401
from mmseg_isda.engine import bind_isda_losses

warnings.filterwarnings('ignore')
LARGEST_FULL = 1 << 30  # numbers in full covariances; those of ImageNet's size do not fit


class Task(NamedTuple):
    """A network of the paper: its base config, classes, features, images in a batch and their size in pixels."""

    config: str
    classes: int
    features: int
    images: int
    pixels: int


TASKS = {
    'resnet32': Task('cifar_resnet32', 10, 64, 128, 32),
    'wrn-16-8': Task('cifar_wrn-16-8', 10, 512, 128, 32),
    'wrn-28-10': Task('cifar_wrn-28-10', 100, 640, 128, 32),
    'resnext29': Task('cifar_resnext29-8x64d', 100, 1024, 128, 32),
    'resnet50': Task('imagenet_resnet50', 1000, 2048, 64, 224),
}
VARIANTS: dict[str, dict[str, Any]] = {
    'cross entropy': dict(type='CrossEntropyLoss'),
    'ISDA, diagonal': dict(type='ISDALoss', covariance='diagonal'),
    'ISDA, full': dict(type='ISDALoss', covariance='full'),
    'ISDA, low rank 16': dict(type='ISDALoss', covariance='low_rank', rank=16),
}


def head_variants(case: str) -> list[str]:
    """Return the losses to compare at a task; full covariances where they fit into memory."""
    task = TASKS[case]
    return [name for name in VARIANTS if 'full' not in name or task.classes * task.features**2 < LARGEST_FULL]


network_variants = head_variants


def _samples(task: Task) -> list[DataSample]:
    labels = torch.randint(0, task.classes, (task.images,))
    return [DataSample().set_gt_label(label) for label in labels]


def head_step(case: str, variant: str, device: str) -> Call:
    """Return a call that runs a linear head forward and backward once; the case is one of ``TASKS``."""
    init_default_scope('mmpretrain')
    task = TASKS[case]
    torch.manual_seed(0)
    config = dict(type='LinearClsHead', num_classes=task.classes, in_channels=task.features, init_cfg=None)
    head = MODELS.build(dict(config, loss=dict(VARIANTS[variant]))).to(device).train()
    for loss in bind_isda_losses(head).values():
        loss.strength = 0.25
    touch_buffers(head)
    features = torch.randn(task.images, task.features, device=device, requires_grad=True)
    samples = [sample.to(device) for sample in _samples(task)]

    def call() -> None:
        head.zero_grad()
        features.grad = None
        head.loss((features,), samples)['loss'].backward()

    return call


def network_step(case: str, variant: str, device: str) -> Call:
    """Return a call that makes one training step of a network; the case is one of ``TASKS``."""
    init_default_scope('mmpretrain')
    task = TASKS[case]
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'models' / f'{task.config}.py').model
    config.head.num_classes, config.head.loss = task.classes, dict(VARIANTS[variant])
    config.data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], num_classes=task.classes)
    model = MODELS.build(config).to(device).train()
    inputs = [torch.randint(0, 256, (3, task.pixels, task.pixels), dtype=torch.uint8) for _ in range(task.images)]
    samples = _samples(task)

    def batch() -> dict:
        return dict(inputs=list(inputs), data_samples=[sample.clone() for sample in samples])

    return training_step(model, batch, lr=0.1, with_hook='ISDA' in variant)
