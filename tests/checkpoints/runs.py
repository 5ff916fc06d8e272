"""A network of a few weights that MMEngine's Runner trains without any toolkit: checkpoints, cheap and real."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from mmseg_isda.checkpoints.guard import guard_process
from mmseg_isda.checkpoints.hook import CheckpointGuard
from mmseg_isda.checkpoints.reading import read_checkpoint


@DATASETS.register_module()
class Points(Dataset):
    """Sixteen fixed points of two classes."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        label = index % 2
        return dict(inputs=torch.randn(4, generator=generator) + label, label=torch.tensor(label))


class Statistics(nn.Module):
    """Buffers by the names and shapes of ISDA's statistics."""

    def __init__(self, classes: int = 2, features: int = 8) -> None:
        super().__init__()
        self.register_buffer('count', torch.zeros(classes, dtype=torch.int64))
        self.register_buffer('mean', torch.zeros(classes, features))
        self.register_buffer('covariance', torch.zeros(classes, features))


class Loss(nn.Module):
    """Counts the labels that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics = Statistics()

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.statistics.count += torch.bincount(labels, minlength=len(self.statistics.count))
        return F.cross_entropy(logits, labels)


@MODELS.register_module()
class TinyBackbone(BaseModule):
    def __init__(self, width: int = 8, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.layer1, self.layer2 = nn.Linear(4, width), nn.Linear(width, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer2(self.layer1(x).relu()).relu()


@MODELS.register_module()
class TinyModel(BaseModel):
    """``ballast`` makes the checkpoint larger, so that to write it takes a while."""

    def __init__(
        self, backbone: Any = None, classes: int = 2, ballast: int = 0, pretrained: Any = None, init_cfg: Any = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        backbone = dict(backbone or dict(type='TinyBackbone'))
        if pretrained:
            backbone['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained)
        self.backbone, self.fc = MODELS.build(backbone), nn.Linear(8, classes)
        self.loss_cls = Loss()
        if ballast:
            self.register_buffer('ballast', torch.zeros(ballast))

    def forward(self, inputs: torch.Tensor, label: torch.Tensor, mode: str = 'loss') -> Any:
        logits = self.fc(self.backbone(inputs))
        return dict(loss=self.loss_cls(logits, label)) if mode == 'loss' else [dict(score=float(logits.std()))]


@METRICS.register_module()
class TinyMetric(BaseMetric):
    """A score that grows with every validation, so that each is the best."""

    calls = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        type(self).calls += 1
        return dict(acc=float(self.calls))


class QuickConfig(Config):
    """A config that is not formatted, which takes longer than to train these networks."""

    @property
    def pretty_text(self) -> str:
        return ''


_numbers = itertools.count()


def settings(work_dir: Path, *, iterations: int = 6, **checkpoint: Any) -> QuickConfig:
    """A config that saves after every iteration; ``checkpoint`` goes to CheckpointHook."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='Points'),
        collate_fn=dict(type='default_collate'),
        sampler=dict(type='InfiniteSampler', shuffle=True, seed=0),
    )
    return QuickConfig(
        dict(
            model=dict(type='TinyModel'),
            work_dir=str(work_dir),
            train_dataloader=loader,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=dict(type='PolyLR', by_epoch=False, end=iterations),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=1000),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, **checkpoint)),
            randomness=dict(seed=0),
            log_level='ERROR',
            # Loggers and message hubs of the process are kept by name.
            experiment_name=f'tiny_{os.getpid()}_{next(_numbers)}',
        )
    )


class QuickRunner(Runner):
    """A runner that does not ask compilers for their versions."""

    def _log_env(self, env_cfg: dict) -> None:
        pass


def build(cfg: QuickConfig) -> Runner:
    """The runner as ``build_runner`` of the commands makes it."""
    guard_process()
    runner = QuickRunner.from_cfg(cfg)
    runner.register_hook(CheckpointGuard())
    return runner


def saved(path: Path) -> dict:
    """Weights, optimizer and schedule of a checkpoint, flattened, to compare."""
    content = read_checkpoint(path)
    flat: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f'{name}.{key}')
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                walk(item, f'{name}.{index}')
        else:
            flat[name] = value

    for entry in ('state_dict', 'optimizer', 'param_schedulers'):
        walk(content[entry], entry)
    return flat


def fork(function: Callable[[], Any]) -> int:
    """Starts a function in a process of its own, without the seconds that imports take, and returns its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        function()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(pid: int) -> int:
    """Waits for a process and returns its exit status, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
