"""The mean over the last epochs, in a Runner of MMEngine."""

import json
import logging

import pytest

pytest.importorskip('mmpretrain')

from mmengine.hooks import Hook
from mmengine.registry import METRICS

from mmseg_isda.classification.meters import LastEpochsMean, last_means
from mmseg_isda.engine.validations import INFO, validations
from tests.classification import toy


@METRICS.register_module(force=True)
class Counter:
    """Metrics that tell how often the weights were validated, and are the same for the same weights."""

    dataset_meta = None

    def __init__(self, collect_device=None, prefix=None) -> None:
        self.total = 0.0

    def process(self, data_batch, data_samples) -> None:
        self.total += sum(float(sample['pred_score'].square().sum()) for sample in data_samples)

    def evaluate(self, size):
        total, self.total = self.total, 0.0
        return dict(score=total, name='no number', double=2 * total)


def train(tmp_path, epochs=5, num_epochs=3, hooks=(), **options):
    runner = toy.runner(
        tmp_path,
        epochs=epochs,
        hooks=[dict(type='ISDAHook'), dict(type='LastEpochsMean', num_epochs=num_epochs), *hooks],
        val_evaluator=dict(type='Counter'),
        **options,
    )
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.logger.setLevel('INFO')
    runner.logger.addHandler(handler)
    runner.train()
    return runner, messages


class Stop(Hook):
    """Ends the process, as it were, after the checkpoint of an epoch and before its validation."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_val(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def test_the_mean_and_spread_of_the_last_epochs(tmp_path):
    """Against the single values; names, log and files included."""
    runner, messages = train(tmp_path)
    history = validations(runner)
    assert list(history) == [1, 2, 3, 4, 5] and set(history[5]) == {'score', 'double'}
    last = [history[epoch]['score'] for epoch in (3, 4, 5)]
    assert len(set(last)) == 3
    info = runner.message_hub.get_info('last_epochs_mean')
    mean = sum(last) / 3
    assert info['epochs'] == [3, 4, 5] and info['mean']['score'] == pytest.approx(mean)
    assert info['mean']['double'] == pytest.approx(2 * mean)
    assert info['std']['score'] == pytest.approx((sum((value - mean) ** 2 for value in last) / 3) ** 0.5)
    assert any(f'Mean of 3 epochs (3 to 5): score {mean:.4f}' in message for message in messages)
    lines = [json.loads(line) for line in next(tmp_path.rglob('scalars.json')).read_text().splitlines()]
    assert next(line for line in lines if 'last_3_epochs/score' in line)['last_3_epochs/score'] == pytest.approx(mean)


@pytest.mark.parametrize('stop', [2, 3, 4, 5])
def test_a_run_resumed_between_checkpoint_and_validation_reports_the_same(tmp_path, stop):
    """Guards the epoch whose checkpoint is written before it is validated: a plain resume would lose its value."""
    best = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='score', rule='greater'))
    whole, _ = train(tmp_path / 'whole', default_hooks=best)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'broken', hooks=[Stop(stop)], default_hooks=best)
    resumed, messages = train(tmp_path / 'broken', resume=True, default_hooks=best)
    assert resumed.message_hub.get_info('last_epochs_mean') == whole.message_hub.get_info('last_epochs_mean')
    made_up = [message for message in messages if 'written before its validation' in message]
    assert len(made_up) == (stop > 2)  # those that do not count are not worth the time


def test_a_finished_run_that_is_resumed_reports_again(tmp_path):
    first, _ = train(tmp_path)
    again, _ = train(tmp_path, resume=True)
    assert again.message_hub.get_info('last_epochs_mean') == first.message_hub.get_info('last_epochs_mean')


def test_epochs_that_are_not_validated_are_pointed_out(tmp_path):
    loop = dict(type='EpochBasedTrainLoop', max_epochs=5, val_interval=2)
    runner, messages = train(tmp_path, train_cfg=loop)
    assert any('2 of the last 3 epochs will be validated' in message for message in messages)
    assert runner.message_hub.get_info('last_epochs_mean')['epochs'] == [4, 5]


def test_without_validation_there_is_no_mean_but_a_warning(tmp_path):
    options = dict(val_dataloader=None, val_cfg=None)
    runner = toy.runner(
        tmp_path, hooks=[dict(type='ISDAHook'), dict(type='LastEpochsMean')], val_evaluator=None, **options
    )
    runner.train()
    assert 'last_epochs_mean' not in runner.message_hub.runtime_info


def test_a_validation_outside_training_is_none_of_its(tmp_path):
    train(tmp_path, epochs=1)
    hooks = [dict(type='LastEpochsMean')]
    runner = toy.runner(tmp_path, hooks=hooks, load_from=str(tmp_path / 'epoch_1.pth'))
    runner.val()


def test_training_by_iterations_has_no_mean_but_a_warning(tmp_path):
    """Guards configs by iterations that build on the runtime base, which cannot take out one default hook."""
    loop = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=1)
    runner, messages = train(tmp_path, train_cfg=loop)
    assert any('IterBasedTrainLoop counts no epochs' in message for message in messages)
    assert 'last_epochs_mean' not in runner.message_hub.runtime_info


def test_no_epochs_are_refused():
    with pytest.raises(ValueError, match='num_epochs must be at least 1, got 0'):
        LastEpochsMean(0)


def test_a_metric_that_some_epoch_lacks_is_left_out():
    assert last_means({1: dict(a=1.0, b=2.0), 2: dict(a=3.0)}) == dict(mean=dict(a=2.0), std=dict(a=1.0))
    assert last_means({}) == {}


def test_the_history_stays_out_of_the_log_line():
    """Guards the name of the entry: MMEngine prints every one whose name begins with the mode's."""
    assert not INFO.startswith(('train', 'val', 'test'))
