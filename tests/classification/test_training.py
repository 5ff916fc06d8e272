"""ISDALoss and its hook in a Runner of MMEngine: resume, mixed precision, averages of the weights, inference."""

import logging
from contextlib import contextmanager

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from mmseg_isda.checkpoints.reading import read_checkpoint
from tests.classification import toy

KINDS = ('full', 'diagonal', 'shared', 'low_rank')
COUNT = 'head.loss_module.statistics.count'


def config(kind='full', **options):
    return toy.model(dict(type='ISDALoss', covariance=kind, **options))


def statistics(runner):
    return {k: v for k, v in runner.model.state_dict().items() if '.statistics.' in k}


def train(tmp_path, *args, **kwargs):
    runner = toy.runner(tmp_path, *args, **kwargs)
    runner.train()
    return runner


class Stop(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 7:
            raise KeyboardInterrupt


class Poison(Hook):
    """Makes the features of one iteration overflow, as mixed precision does now and then."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter in (1, 2):
            data_batch['inputs'][0] = torch.full_like(data_batch['inputs'][0], float('nan'), dtype=torch.float32)


@pytest.mark.parametrize('kind', KINDS)
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, kind):
    """Weights and statistics, bit for bit: statistics that are forgotten, or a lambda that starts again, fail."""
    whole = train(tmp_path / 'whole', config(kind), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'broken', config(kind), epochs=4, hooks=[dict(type='ISDAHook'), Stop()])
    resumed = train(tmp_path / 'broken', config(kind), epochs=4, resume=True)
    expected, got = whole.model.state_dict(), resumed.model.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert statistics(resumed)[COUNT].sum() == 4 * 24


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [('iter', [(i + 1) / 6 for i in range(6)]), ('epoch', [0, 0, 0, 0.5, 0.5, 0.5]), ('constant', [1] * 6)],
)
def test_lambda_follows_its_schedule_and_reaches_the_message_hub(tmp_path, schedule, expected):
    runner = train(tmp_path, config(schedule=schedule, lambda_0=2.0), epochs=2)
    history = runner.message_hub.log_scalars['train/head.isda_lambda']._log_history
    assert list(history) == pytest.approx([2.0 * value for value in expected])
    assert runner.message_hub.log_scalars['train/head.isda_shift'].current() > 0


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 on the CPU, where AmpOptimWrapper refuses to work."""

    @contextmanager
    def optim_context(self, model):
        with torch.autocast('cpu', dtype=torch.bfloat16), super().optim_context(model):
            yield


@pytest.mark.parametrize('kind', KINDS)
def test_mixed_precision_and_gradient_accumulation(tmp_path, kind):
    """Statistics stay float32 and near those of full precision; counts are the same."""
    amp = dict(type='AmpOptimWrapper') if torch.cuda.is_available() else dict(type='CpuAmpOptimWrapper')
    settings = dict(accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01))
    half = train(tmp_path / 'half', config(kind), optim_wrapper=dict(**amp, **settings))
    full = train(tmp_path / 'full', config(kind), optim_wrapper=dict(type='OptimWrapper', **settings))
    for key, value in statistics(half).items():
        expected = statistics(full)[key]
        if key.endswith('count'):
            assert torch.equal(value, expected)
            continue
        assert value.dtype == torch.float32
        if not key.endswith('factor'):  # the signs of directions are free
            assert (value - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize('kind', ['full', 'low_rank'])
@pytest.mark.parametrize('update_buffers', [False, True])
def test_ema_hook_copies_and_restores_the_statistics(tmp_path, kind, update_buffers):
    """EMAHook reads every key of the source: the statistics must exist before it copies the model."""
    hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=update_buffers), dict(type='ISDAHook')]
    train(tmp_path, config(kind), hooks=hooks)
    saved = read_checkpoint(tmp_path / 'epoch_2.pth')
    assert saved['state_dict'][COUNT].sum() > 0
    resumed = train(tmp_path, config(kind), epochs=3, hooks=hooks, resume=True)
    assert statistics(resumed)[COUNT].sum() > saved['state_dict'][COUNT].sum()


def test_features_that_are_not_finite_are_reported_once(tmp_path):
    for kind in KINDS:
        runner = toy.runner(tmp_path / kind, config(kind), hooks=[dict(type='ISDAHook'), Poison()])
        messages = []
        runner.logger.addHandler(handler := logging.Handler())
        handler.emit = lambda record, messages=messages: messages.append(record.getMessage())
        runner.train()
        assert len([m for m in messages if 'features were not finite' in m and 'head' in m]) == 1
        assert all(value.isfinite().all() for value in statistics(runner).values())


def test_a_missing_hook_says_which_line_to_add(tmp_path):
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(isda=dict\(type='ISDAHook'\)\)"):
        train(tmp_path, hooks=[])


@pytest.mark.parametrize('kind', ['full', 'low_rank'])
def test_statistics_of_another_network_are_refused(tmp_path, kind):
    train(tmp_path, config(kind))
    wider = config(kind) | dict(backbone=dict(type='ToyBackbone', channels=9))
    wider['head']['in_channels'] = 9
    runner = toy.runner(tmp_path / 'other', wider, load_from=str(tmp_path / 'epoch_2.pth'))
    with pytest.raises(ValueError, match=r'shape \(4,.* 6\).* needs \(4,.* 9\)'):
        runner.train()


def test_a_plain_checkpoint_starts_from_zero_with_a_warning(tmp_path):
    train(tmp_path, toy.model(dict(type='CrossEntropyLoss')), hooks=[])
    runner = toy.runner(tmp_path / 'isda', load_from=str(tmp_path / 'epoch_2.pth'))
    with pytest.warns(UserWarning, match='no ISDA statistics'):
        runner.train()
    assert statistics(runner)[COUNT].sum() == 48


@pytest.mark.parametrize('kind', ['full', 'low_rank'])
def test_inference_loads_a_trained_checkpoint_quietly(tmp_path, kind, recwarn):
    """mmpretrain.apis builds the network without a Runner: the statistics must be no unexpected keys."""
    from mmengine.config import Config
    from mmpretrain.apis import get_model

    runner = train(tmp_path, config(kind))
    recwarn.clear()
    network = get_model(Config(dict(model=config(kind), default_scope='mmpretrain')), str(tmp_path / 'epoch_2.pth'))
    assert not [w for w in recwarn if 'statistics' in str(w.message)]
    assert not network.head.fc._forward_hooks
    trained = runner.model.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
    assert network.eval()(toy.batch(network)['inputs'], mode='predict')[0].pred_label.numel() == 1
