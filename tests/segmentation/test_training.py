"""The loss and its hook in a Runner of MMEngine: resume, mixed precision, averages of the weights, inference."""

import logging
from contextlib import contextmanager

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from mmseg_isda.checkpoints.reading import read_checkpoint
from tests.segmentation import toy


def statistics(runner):
    return {k: v for k, v in runner.model.state_dict().items() if '.statistics.' in k}


class Poison(Hook):
    """Makes the features of one iteration overflow, as mixed precision does now and then."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter in (1, 2):
            data_batch['inputs'][0] = torch.full_like(data_batch['inputs'][0], float('nan'), dtype=torch.float32)


def train(tmp_path, *args, **kwargs):
    runner = toy.runner(tmp_path, *args, **kwargs)
    runner.train()
    return runner


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    """Weights and statistics, bit for bit: statistics that are forgotten, or a lambda that starts again, fail."""
    whole = train(tmp_path / 'whole', iters=20)

    class Stop(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 9:
                raise KeyboardInterrupt

    hooks = [dict(type='ISDAHook'), Stop()]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / 'broken', iters=20, hooks=hooks, default_hooks=checkpoint_every(10))
    resumed = toy.runner(tmp_path / 'broken', iters=20, resume=True, default_hooks=checkpoint_every(10))
    resumed.train()
    expected, got = whole.model.state_dict(), resumed.model.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert statistics(resumed)['decode_head.loss_decode.statistics.count'].sum() > 0


def checkpoint_every(interval):
    hook = dict(type='CheckpointHook', by_epoch=False, interval=interval)
    return dict(checkpoint=hook, logger=dict(type='LoggerHook', interval=1))


def test_lambda_and_the_size_of_the_augmentation_reach_the_message_hub(tmp_path):
    runner = train(tmp_path, iters=4)
    scalars = runner.message_hub.log_scalars
    history = scalars['train/decode_head.isda_lambda']._log_history
    assert list(history) == pytest.approx([7.5 * (i + 1) / 4 for i in range(4)])
    for head in ('decode_head', 'auxiliary_head'):
        assert scalars[f'train/{head}.isda_shift'].current() > 0
    log = next(tmp_path.rglob('scalars.json')).read_text()
    assert '"decode_head.isda_lambda"' in log and '"decode_head.isda_shift"' in log


def test_no_diagnostic_is_added_to_the_loss(tmp_path):
    """MMEngine adds up every key that contains 'loss'."""
    runner = train(tmp_path, iters=2)
    scalars = runner.message_hub.log_scalars
    parts = ['decode.loss_isda', 'aux.loss_isda']
    total = sum(scalars[f'train/{name}'].current() for name in parts)
    assert scalars['train/loss'].current() == pytest.approx(total, rel=1e-5)


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpOptimWrapper(OptimWrapper):
    """bfloat16 on the CPU, where AmpOptimWrapper refuses to work."""

    @contextmanager
    def optim_context(self, model):
        with torch.autocast('cpu', dtype=torch.bfloat16), super().optim_context(model):
            yield


def test_mixed_precision_and_gradient_accumulation(tmp_path):
    """Statistics stay float32 and near those of full precision; counts are the same."""
    kind = dict(type='AmpOptimWrapper') if torch.cuda.is_available() else dict(type='CpuAmpOptimWrapper')
    settings = dict(accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01))
    half = train(tmp_path / 'half', iters=4, optim_wrapper=dict(**kind, **settings))
    full = train(tmp_path / 'full', iters=4, optim_wrapper=dict(type='OptimWrapper', **settings))
    for key, value in statistics(half).items():
        expected = statistics(full)[key]
        if key.endswith('count'):
            assert torch.equal(value, expected)
        else:
            assert value.dtype == torch.float32
            assert (value - expected).norm() / expected.norm() < 0.05


def test_ema_hook_copies_and_restores_the_statistics(tmp_path):
    """EMAHook reads every key of the source: the statistics must exist before it copies the model."""
    hooks = [dict(type='ISDAHook'), dict(type='EMAHook', momentum=0.1)]
    train(tmp_path, iters=4, hooks=hooks)
    saved = read_checkpoint(tmp_path / 'iter_4.pth')
    key = 'decode_head.loss_decode.statistics.count'
    assert saved['state_dict'][key].sum() > 0
    assert torch.equal(saved['ema_state_dict'][f'module.{key}'], saved['state_dict'][key])
    resumed = toy.runner(tmp_path, iters=6, hooks=hooks, resume=True)
    resumed.train()
    assert statistics(resumed)[key].sum() > saved['state_dict'][key].sum()


def test_the_hook_s_order_in_the_list_does_not_matter(tmp_path):
    train(tmp_path, iters=2, hooks=[dict(type='EMAHook', update_buffers=True), dict(type='ISDAHook')])


def test_features_that_are_not_finite_are_reported_once(tmp_path, caplog):
    config = toy.model()
    runner = toy.runner(tmp_path, config, iters=4, hooks=[dict(type='ISDAHook'), Poison()])
    messages = []
    runner.logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.train()
    reports = [m for m in messages if 'features were not finite' in m and 'decode_head' in m]
    assert len(reports) == 1
    assert all(value.isfinite().all() for value in statistics(runner).values())


def test_a_missing_hook_says_which_line_to_add(tmp_path):
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(isda=dict\(type='ISDAHook'\)\)"):
        train(tmp_path, hooks=[])


def test_a_hook_without_a_loss_says_so(tmp_path):
    runner = toy.runner(tmp_path, toy.model(dict(type='CrossEntropyLoss')), iters=1)
    messages = []
    runner.logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.train()
    assert any('found no ISDA loss' in message for message in messages)


def test_statistics_of_another_network_are_refused(tmp_path):
    train(tmp_path, iters=2)
    wider = toy.model(auxiliary=False, decode=toy.head('PSPHead', pool_scales=(1, 2), channels=12))
    runner = toy.runner(tmp_path / 'other', wider, load_from=str(tmp_path / 'iter_2.pth'))
    with pytest.raises(ValueError, match=r'\(4, 8\).*\(4, 12\)'):
        runner.train()


def test_a_plain_checkpoint_starts_from_zero_with_a_warning(tmp_path):
    train(tmp_path, toy.model(dict(type='CrossEntropyLoss')), iters=2)
    runner = toy.runner(tmp_path / 'isda', iters=2, load_from=str(tmp_path / 'iter_2.pth'))
    with pytest.warns(UserWarning, match='no ISDA statistics'):
        runner.train()
    assert statistics(runner)['decode_head.loss_decode.statistics.count'].sum() > 0


def test_inference_loads_a_trained_checkpoint_quietly(tmp_path, recwarn):
    """mmseg.apis builds the network without a Runner: the statistics must be no unexpected keys, and cost nothing."""
    from mmengine.config import Config
    from mmseg.apis import inference_model, init_model

    runner = train(tmp_path, iters=2)
    pipeline = [dict(type='LoadImageFromNDArray'), dict(type='PackSegInputs')]
    config = Config(dict(model=toy.model(), default_scope='mmseg', test_pipeline=pipeline))
    config.test_dataloader = dict(dataset=dict(pipeline=pipeline))
    recwarn.clear()
    network = init_model(config, str(tmp_path / 'iter_2.pth'), device='cpu')
    assert not [w for w in recwarn if 'statistics' in str(w.message)]
    scene = toy.ToyScenes()[0]['inputs']
    result = inference_model(network, scene.permute(1, 2, 0).numpy())
    assert result.pred_sem_seg.data.shape == (1, 32, 32)
    assert not network.decode_head.conv_seg._forward_hooks
    trained = runner.model.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
