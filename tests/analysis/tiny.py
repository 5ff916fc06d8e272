"""Checkpoints of tiny networks that nobody trained, with statistics of made features."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmseg_isda.classification
import mmseg_isda.segmentation  # noqa: F401  (registers the losses)
from mmseg_isda.engine import bind_isda_losses
from tests import tiny


def digits_config(path: Path, **loss) -> Path:
    """Write the config of a ResNet-8 with 8 features for scikit-learn's digits."""
    data = dict(type='HandwrittenDigits', split='train', indices=120, pipeline=[dict(type='PackInputs')])
    loader = dict(batch_size=50, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=data)
    settings = dict(
        default_scope='mmpretrain',
        custom_imports=dict(imports=['mmseg_isda.classification'], allow_failed_imports=False),
        data_preprocessor=dict(num_classes=10, mean=[77.8], std=[95.9], to_rgb=False),
        model=dict(
            type='ImageClassifier',
            backbone=dict(type='CIFARResNet', depth=8, base_channels=2, in_channels=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='LinearClsHead',
                num_classes=10,
                in_channels=8,
                loss=dict(type='ISDALoss', lambda_0=0.5) | loss,
            ),
        ),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=30),
    )
    return tiny.write_config(path, settings)


def scenes_config(root: Path, **loss) -> Path:
    """Write images of three regions and the config of a PSPNet for them; the fourth class never occurs."""
    tiny.write_dataset(root / 'data')
    settings = tiny.tiny_settings(root / 'data', iterations=40)
    settings['model']['decode_head']['loss_decode'] = dict(type='ISDASegLoss', lambda_0=2.0) | loss
    return tiny.write_config(root / 'scenes.py', settings)


def write_checkpoint(config: Path, path: Path, *, statistics: bool = True, **meta) -> Path:
    """Write a checkpoint of the network of a config with random weights, and statistics of random features."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    settings = dict(cfg.model, data_preprocessor=cfg.model.get('data_preprocessor') or cfg.data_preprocessor)
    for head in ('decode_head', 'auxiliary_head', 'backbone'):
        if 'norm_cfg' in settings.get(head, {}):
            settings[head].norm_cfg.type = 'BN'
    model = MODELS.build(settings)
    for loss in bind_isda_losses(model).values():
        num_classes, size = loss.tap.weight.shape
        torch.nn.init.normal_(loss.tap.classifier.weight)
        if statistics:
            labels = torch.arange(40 * num_classes) % num_classes
            loss.statistics.update(torch.randn(len(labels), size), labels)
    state = model.state_dict()
    if not statistics:
        state = {name: value for name, value in state.items() if '.statistics.' not in name}
    torch.save(dict(meta=meta, state_dict=state), path)
    return path
