"""A task of no toolkit that trains in a fraction of a second, and trainings of a sweep in this process."""

from __future__ import annotations

from contextlib import redirect_stderr
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

from mmseg_isda.commands.__main__ import main
from mmseg_isda.engine import ISDALossBase


@MODELS.register_module(force=True)
class ToyLoss(ISDALossBase):
    """Stands in for ISDA: what a sweep varies."""

    def __init__(self, lambda_0=1.0):
        super().__init__(lambda_0=lambda_0, covariance='full', rank=1, schedule='iter', sync=False, classifier='fc')

    @property
    def needs_tap(self):
        return False

    def forward(self, logits, labels):
        return nn.functional.cross_entropy(logits * (1 + self.lambda_0), labels)


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, loss):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.loss_module = MODELS.build(loss)

    def forward(self, features, label, mode='tensor'):
        logits = self.fc(features)
        return dict(loss=self.loss_module(logits, label)) if mode == 'loss' else list(logits)


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    def __init__(self, length=12, offset=0):
        self.length, self.offset = length, offset

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index + self.offset)
        return dict(features=torch.randn(4, generator=generator) + index % 3, label=torch.tensor(index % 3))


@METRICS.register_module(force=True)
class MeanLogit(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(logits.mean()) for logits in data_samples]

    def compute_metrics(self, results):
        return dict(score=sum(results) / len(results))


@HOOKS.register_module(force=True)
class BreakDown(Hook):
    """Raises ``error`` at iteration ``at`` of the run with ``lambda_0``; notes every iteration."""

    at: tuple[float, int] | None = None
    error: BaseException | None = None
    seen: list = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        place = (runner.model.loss_module.lambda_0, runner.iter)
        BreakDown.seen.append(place)
        if place == BreakDown.at:
            BreakDown.at = None
            raise BreakDown.error


def loader(length: int, offset: int = 0) -> dict:
    return dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='ToyData', length=length, offset=offset),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )


def write_config(path: Path, **changes) -> Path:
    settings = dict(
        default_scope='mmengine',
        model=dict(type='ToyModel', loss=dict(type='ToyLoss')),
        train_dataloader=loader(12),
        val_dataloader=loader(5, 100),
        val_cfg=dict(),
        val_evaluator=dict(type='MeanLogit'),
        test_dataloader=loader(5, 200),
        test_cfg=dict(),
        test_evaluator=dict(type='MeanLogit'),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='BreakDown')],
        log_level='ERROR',
    )
    Config(settings | changes).dump(str(path))
    return path


class InProcess:
    """Stands in for ``subprocess.Popen``: trains in this process, where a toolkit is imported already."""

    commands: list = []

    def __init__(self, command, stdout=None, **options):
        self.words = command[command.index('train') :]
        self.log = open(stdout.name, 'a')  # noqa: SIM115
        InProcess.commands.append(self.words)

    def wait(self) -> int:
        # Loggers and message hubs of a process are kept by the name of the experiment.
        name = f'experiment_name=run_{len(InProcess.commands)}_{id(self)}'
        words = [*self.words, '--cfg-options', name]
        try:
            with redirect_stderr(self.log):
                return main(words)
        except Exception as error:
            self.log.write(f'Traceback\n{type(error).__name__}: {error}\n')
            return 1
        finally:
            self.log.close()

    def terminate(self) -> None:
        pass
