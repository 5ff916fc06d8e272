"""The hook that freezes part of a network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmseg_isda.engine import FineTuningHook
from mmseg_isda.errors import OptionError


def _runner():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    return SimpleNamespace(model=nn.ModuleDict(dict(body=body, head=nn.BatchNorm2d(4))))


def _step(runner, hook, images):
    runner.model.train()  # as MMEngine does after each validation
    hook.before_train_iter(runner, 0)
    features = runner.model['body'](images)
    runner.model['head'](features).square().mean().backward()


def test_frozen_modules_get_no_gradient_and_norms_keep_their_statistics():
    runner, hook = _runner(), FineTuningHook(frozen=['body.0', 'body.1'], norm_eval=['body'], channels_last=True)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    hook.before_train(runner)
    for _ in range(2):
        _step(runner, hook, torch.randn(2, 3, 8, 8))
    gradients = {name for name, parameter in runner.model.named_parameters() if parameter.grad is not None}
    assert gradients == {f'{name}.{kind}' for name in ('body.2', 'body.3', 'head') for kind in ('weight', 'bias')}
    changed = {name for name, value in runner.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {'head.running_mean', 'head.running_var', 'head.num_batches_tracked'}
    assert runner.model['body'][2].weight.is_contiguous(memory_format=torch.channels_last)


def test_names_a_module_that_is_not_there():
    with pytest.raises(OptionError, match=r"no module 'backbone'; at its top it has body, head"):
        FineTuningHook(frozen=['backbone']).before_train(_runner())
