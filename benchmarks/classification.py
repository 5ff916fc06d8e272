"""Linear heads and networks of MMPretrain with every loss that is compared, for ``head_cost.py`` and others."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import measure
import torch
from measure import Call
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from workload import bind, touch_buffers, training_step

import mmseg_isda.classification  # noqa: F401

warnings.filterwarnings('ignore')
STRENGTH = 0.25
LARGEST_FULL = 1 << 30  # numbers in full covariances; those of ImageNet's size do not fit


class Task(NamedTuple):
    """A network of the paper: its config, classes, features, images in a batch and their size in pixels."""

    config: str
    classes: int
    features: int
    images: int
    pixels: int


TASKS = {
    'resnet32': Task('cifar/resnet32_b128_cifar10', 10, 64, 128, 32),
    'resnet32-8': Task('cifar/resnet32_b128_cifar10', 10, 64, 8, 32),  # to try the benchmarks themselves
    'wrn-16-8': Task('cifar/wrn-16-8_b128_cifar10', 10, 512, 128, 32),
    'wrn-28-10': Task('cifar/wrn-28-10_b128_cifar100', 100, 640, 128, 32),
    'resnext29': Task('cifar/resnext29-8x64d_b128_cifar100', 100, 1024, 128, 32),
    'resnet50': Task('_base_/models/imagenet_resnet50', 1000, 2048, 64, 224),
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


def new_head(num_classes: int, num_features: int, loss: dict[str, Any]) -> nn.Module:
    """Return a linear head in training mode, whose loss is bound to its classifier."""
    init_default_scope('mmpretrain')
    config = dict(type='LinearClsHead', num_classes=num_classes, in_channels=num_features, init_cfg=None)
    head = MODELS.build(dict(config, loss=dict(loss))).train()
    bind(head, head.loss_module)
    return head


def head_loss(head: nn.Module, features: Tensor, labels: Tensor, strength: float, **options: Any) -> Tensor:
    """Return the loss of (N, A) features and (N,) labels."""
    head.loss_module.strength = strength
    return head.loss_module(head((features,)), labels, **options)


def head_step(case: str, variant: str, device: str) -> Call:
    """Return a call that runs a linear head forward and backward once; the case is one of ``TASKS``."""
    task = TASKS[case]
    torch.manual_seed(0)
    head = new_head(task.classes, task.features, VARIANTS[variant]).to(device)
    touch_buffers(head)
    features = torch.randn(task.images, task.features, device=device, requires_grad=True)
    labels = torch.randint(0, task.classes, (task.images,), device=device)

    def call() -> None:
        head.zero_grad()
        features.grad = None
        head_loss(head, features, labels, STRENGTH, avg_factor=len(labels)).backward()

    return call


def network_step(case: str, variant: str, device: str) -> Call:
    """Return a call that makes one training step of a network; the case is one of ``TASKS``."""
    init_default_scope('mmpretrain')
    task = TASKS[case]
    torch.manual_seed(0)
    config = Config.fromfile(measure.ROOT / 'configs' / f'{task.config}.py').model
    config.head.num_classes, config.head.loss = task.classes, dict(VARIANTS[variant])
    config.data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7], num_classes=task.classes)
    model = MODELS.build(config).to(device).train()
    inputs = [torch.randint(0, 256, (3, task.pixels, task.pixels), dtype=torch.uint8) for _ in range(task.images)]
    labels = torch.randint(0, task.classes, (task.images,))

    def batch() -> dict:
        return dict(inputs=list(inputs), data_samples=[DataSample().set_gt_label(label) for label in labels])

    return training_step(model, batch, lr=0.1, with_hook='ISDA' in variant)
