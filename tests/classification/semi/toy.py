"""A tiny semi-supervised classifier and its data."""

from __future__ import annotations

import copy

import torch
from mmengine.config import ConfigDict
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from tests.classification.toy import CLASSES, FEATURES, build, model

NUM_SAMPLES = 40
METHODS = {
    'pi': dict(type='PiModel'),
    'temporal-ensembling': dict(type='TemporalEnsembling', num_samples=NUM_SAMPLES, num_classes=CLASSES),
    'mean-teacher': dict(type='MeanTeacher'),
    'vat': dict(type='VirtualAdversarialTraining', eps=1.0, xi=0.01),
}


def config(method: str, loss: dict | None = None, **semi_train_cfg) -> dict:
    """Config of a SemiSupervisedClassifier; eta_1 is 1 unless the loss is another than ISDALoss."""
    eta_1 = 1.0 if loss is None or loss['type'] == 'ISDALoss' else 0.0
    return model(
        loss,
        type='SemiSupervisedClassifier',
        method=METHODS[method],
        semi_train_cfg=dict(eta_1=eta_1, eta_2=3.0) | semi_train_cfg,
    )


def student(method: str, loss: dict | None = None, *, norm: bool = True, **semi_train_cfg) -> nn.Module:
    """The network in training mode, bound, with a teacher of other weights where it needs one.

    Args:
        norm: leave batch norm in; without it a batch is the sum of its parts.
    """
    settings = config(method, loss, **semi_train_cfg)
    network = build(settings) if loss is None else MODELS.build(ConfigDict(settings)).train()
    if not norm:
        network.backbone.bn = nn.Identity()
    if method == 'mean-teacher':
        teacher = copy.deepcopy(network).requires_grad_(False)
        teacher.head.fc.weight += 0.1 * torch.linspace(-1, 1, FEATURES)
        network.attach_teacher(teacher)
    return network


def batch(num_labeled: int = 6, num_unlabeled: int = 10, views: int = 2, dtype=torch.float32) -> tuple[dict, dict]:
    """Preprocessed inputs and data samples by branch."""
    names = ('unsup_student', 'unsup_teacher')[:views]
    inputs = dict(sup=torch.randn(num_labeled, 3, 8, 8, dtype=dtype))
    inputs |= {name: torch.randn(num_unlabeled, 3, 8, 8, dtype=dtype) for name in names}
    labeled = [DataSample().set_gt_label(place % CLASSES) for place in range(num_labeled)]
    unlabeled = [DataSample(metainfo=dict(sample_idx=3 * place)) for place in range(num_unlabeled)]
    return inputs, dict(sup=labeled, unsup_student=unlabeled, unsup_teacher=unlabeled)


__all__ = ['CLASSES', 'METHODS', 'NUM_SAMPLES', 'batch', 'config', 'student']
