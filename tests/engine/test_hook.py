"""ISDAHook in a Runner of MMEngine, on a model of no toolkit."""

import itertools
import logging

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmseg_isda.checkpoints.reading import allow_checkpoint_classes
from mmseg_isda.engine import ISDAHook
from tests.engine.toy import Loss

_RUNS = itertools.count()


class Points(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.randn(4, generator=generator), index % 3


class Net(BaseModel):
    """A linear classifier; ``loss`` may be replaced in training, as MMPretrain's SwitchRecipeHook does."""

    def __init__(self, loss):
        super().__init__()
        self.body, self.fc, self.loss = nn.Linear(4, 4), nn.Linear(4, 3), loss

    def forward(self, inputs, labels, mode='loss'):
        logits = self.fc(self.body(inputs))
        if isinstance(self.loss, Loss):
            return dict(loss=logits.square().mean() + 0 * self.loss(logits, labels).sum())
        return dict(loss=self.loss(logits, labels))

    def train_step(self, data, optim_wrapper):
        losses = self(*data)
        optim_wrapper.update_params(losses['loss'])
        return losses


class Switch(Hook):
    """Replaces the loss at an epoch, again after a resume."""

    def __init__(self, epoch):
        self.epoch, self.done = epoch, False

    def before_train_epoch(self, runner):
        if runner.epoch >= self.epoch and not self.done:
            runner.model.loss, self.done = Loss(), True


def runner_of(work_dir, loss, *, epochs=2, hooks=(), **options):
    allow_checkpoint_classes()
    loader = dict(batch_size=4, dataset=Points(), sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0)
    loader['collate_fn'] = dict(type='default_collate')
    return Runner(
        Net(loss),
        str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(isda=dict(type='ISDAHook'), checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=list(hooks),
        experiment_name=f'hook_{next(_RUNS)}',
        log_level='WARNING',
        **options,
    )


def test_lambda_shift_and_margin_are_logged(tmp_path):
    runner = runner_of(tmp_path, Loss(lambda_0=2.0))
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert scalars['train/Net.isda_lambda'].current() == 2.0 and scalars['train/Net.isda_shift'].current() > 0
    assert scalars['train/Net.isda_margin'].current() != 0
    assert runner.model.loss.statistics.count.sum() == 24 and not runner.model.loss.tap._passes


def test_a_loss_that_comes_in_during_training_is_bound(tmp_path):
    """Guards SwitchRecipeHook, after which the message asked for the hook that was there."""
    runner = runner_of(tmp_path, nn.CrossEntropyLoss(), hooks=[Switch(1)])
    runner.train()
    assert runner.model.loss.statistics.count.sum() == 12


def test_statistics_of_a_late_loss_survive_a_resume(tmp_path):
    """Guards a resume after the switch: the loss is not there yet when the checkpoint is loaded."""
    whole = runner_of(tmp_path / 'whole', nn.CrossEntropyLoss(), epochs=3, hooks=[Switch(1)])
    whole.train()
    half = tmp_path / 'whole' / 'epoch_2.pth'
    resumed = runner_of(
        tmp_path / 'resumed', nn.CrossEntropyLoss(), epochs=3, hooks=[Switch(1)], load_from=str(half), resume=True
    )
    resumed.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


@pytest.mark.parametrize('fault', ['eval', 'nan'])
def test_what_goes_wrong_is_reported_once(tmp_path, fault, caplog):
    """Guards a head in evaluation, which trains with plain cross entropy, and features that are not finite."""

    class Fault(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if fault == 'eval':
                runner.model.loss.eval()
            else:
                data_batch[0].fill_(float('nan'))

    runner = runner_of(tmp_path, Loss(), hooks=[Fault()])
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    text = {'eval': 'in eval mode', 'nan': 'features were not finite'}[fault]
    found = [message for message in records if 'ISDA: Net' in message and text in message]
    assert len(found) == 1 and 'reported once' in found[0]


def test_a_model_without_an_isda_loss_trains_and_the_log_says_so(tmp_path):
    runner = runner_of(tmp_path, nn.CrossEntropyLoss(), epochs=1)
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    assert any('found no ISDA loss' in message for message in records)


def test_nothing_is_bound_in_testing():
    class Testing:
        optim_wrapper = None

    ISDAHook().before_run(Testing())
