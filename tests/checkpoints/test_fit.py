"""Weights that fit nothing are refused, those that fit in part are reported: the host only warns and trains on."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from mmseg_isda.checkpoints.fit import Fit, check_weights, watch_fit
from mmseg_isda.errors import CheckpointError
from tests.checkpoints import runs

W1, W2 = 'backbone.layer1.weight', 'backbone.layer2.weight'


def _weights(**options) -> dict:
    runs.guard_process()
    return runs.TinyModel(**options).state_dict()


def _without(state: dict, *names: str) -> dict:
    return {key: value for key, value in state.items() if key not in names}


# What a file holds: the error, or the one line of the log; None where neither is called for.
FILES = {
    'empty': (lambda: {}, CheckpointError, 'holds no weights|0 weights matched, 6 missed'),
    'another network': (
        lambda: {f'stages.{i}.weight': torch.ones(2) for i in range(30)},
        CheckpointError,
        r'another network .*0 weights matched, 6 missed \(first .*\), 30 left over \(first stages\.0\.weight\)',
    ),
    'one name in common by chance': (
        lambda: {f'stages.{i}.weight': torch.ones(2) for i in range(30)} | {'fc.bias': torch.zeros(3)},
        CheckpointError,
        '0 weights matched, 5 missed .* 30 left over .* 1 of another shape',
    ),
    'an inner layer of another shape': (
        lambda: _weights() | {W2: torch.zeros(8, 4)},
        CheckpointError,
        r'does not fit .*5 weights matched.*1 of another shape .*layer2\.weight: \(8, 4\) in the file, \(8, 8\)',
    ),
    'a backbone of another width': (
        lambda: _weights(backbone=dict(type='TinyBackbone', width=4)), CheckpointError, '3 of another shape'
    ),
    'all of it': (lambda: _weights(), None, None),
    'wrapped': (lambda: {f'module.{key}': value for key, value in _weights().items()}, None, None),
    'without counters and statistics': (
        lambda: _without(_weights(), *(f'loss_cls.statistics.{name}' for name in ('count', 'mean', 'covariance'))),
        None,
        None,
    ),
    'a classifier of another size': (
        lambda: _without(_weights(classes=5), *(f'loss_cls.statistics.{n}' for n in ('count', 'mean', 'covariance'))),
        None,
        r'fits TinyModel in part: 4 weights matched, 0 missed, 0 left over, 2 of another shape \(first fc\.\w+: \(5,',
    ),
    'a backbone alone': (
        lambda: _without(_weights(), 'fc.weight', 'fc.bias'), None, r'in part: 4 weights matched, 2 missed .*fc\.'
    ),
    'a layer too many': (
        lambda: _weights() | {'neck.weight': torch.ones(2)}, None, r'1 left over \(first neck\.weight\)'
    ),
}  # fmt: skip


def check_training(cfg, error, message):
    """Train; either it is refused, or it warns of ``a.pth`` once, or not at all."""
    runner = runs.build(cfg)
    said = []
    runner.logger.warning = said.append
    if error:
        with pytest.raises(error, match=message):
            runner.train()
        return
    runner.train()
    said = [text for text in said if 'a.pth' in text]
    assert len(said) == (message is not None) and all(re.search(message, text) for text in said)


@pytest.mark.parametrize('kind', FILES)
def test_what_a_training_starts_from(kind, tmp_path):
    """With rc 0, a run that starts from random weights looks like any other."""
    state, error, message = FILES[kind]
    torch.save(dict(state_dict=state()), tmp_path / 'a.pth')
    cfg = runs.settings(tmp_path / 'work', iterations=1)
    cfg.load_from = str(tmp_path / 'a.pth')
    check_training(cfg, error, message)


BACKBONES = {
    'exact': (lambda: _weights(), 'backbone.', None, None),
    'without its prefix': (lambda: _weights(), None, CheckpointError, r'a\.pth is of another network than backbone'),
    'bare': (
        lambda: {'layer1.weight': torch.ones(8, 4), 'fc.bias': torch.ones(3)}, None, None, '1 weights matched, 3 missed'
    ),
    'of another shape': (
        lambda: {'layer1.weight': torch.ones(7, 4), 'layer1.bias': torch.ones(8)},
        None,
        CheckpointError,
        'not fit backbone',
    ),
}  # fmt: skip


@pytest.mark.parametrize('kind', BACKBONES)
def test_what_a_backbone_starts_from(kind, tmp_path):
    """``init_cfg`` of a part, with and without a prefix; a wrong prefix leaves all of it random."""
    state, prefix, error, message = BACKBONES[kind]
    torch.save(state(), tmp_path / 'a.pth')
    cfg = runs.settings(tmp_path / 'work', iterations=1)
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix=prefix)
    cfg.model.backbone = dict(type='TinyBackbone', init_cfg=init)
    check_training(cfg, error, message)


@pytest.mark.parametrize('lost', [('fc.bias',), (W1, 'fc.weight')])
def test_a_run_is_resumed_with_all_of_its_weights(lost, tmp_path):
    """Guards a config that was changed between the start of a run and its end."""
    runs.build(runs.settings(tmp_path, iterations=1)).train()
    content = runs.read_checkpoint(tmp_path / 'iter_1.pth')
    for name in lost:
        content['state_dict'].pop(name)
    torch.save(content, tmp_path / 'changed.pth')
    cfg = runs.settings(tmp_path)
    cfg.load_from, cfg.resume = str(tmp_path / 'changed.pth'), True
    with pytest.raises(CheckpointError, match=rf'changed\.pth does not fit TinyModel: {6 - len(lost)} weights matched'):
        runs.build(cfg).train()


class _Resized(nn.Linear):
    """Fits what it loads to its own shape first, as vision transformers do with their position embeddings."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        state_dict[f'{prefix}weight'] = state_dict[f'{prefix}weight'].mean().expand(self.weight.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_weights_that_the_host_resizes_fit(tmp_path):
    """Guards a refusal by names and shapes alone, before the host has had its say."""
    model, told = nn.Sequential(nn.Linear(2, 2), _Resized(4, 2)), []
    watch_fit(model, told.append)
    state = nn.Sequential(nn.Linear(2, 2), nn.Linear(9, 2)).state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    load_checkpoint(model, str(tmp_path / 'a.pth'))
    model.load_state_dict(state)
    assert [fit.is_exact for fit in told] == [True, True]


def test_a_part_that_is_loaded_with_the_whole_is_not_counted_twice(tmp_path):
    """Guards a backbone's watch against the names of the heads, which are missing or left over beside it."""
    model, whole, part = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 1))), [], []
    handles = [*watch_fit(model, whole.append), *watch_fit(model['backbone'], part.append)]
    model.load_state_dict({'backbone.weight': torch.ones(2, 2), 'x': torch.ones(1)}, strict=False)
    assert not part and whole == [Fit(1, ['backbone.bias', 'head.weight', 'head.bias'], ['x'], {})]
    for handle in handles:
        handle.remove()
    model.load_state_dict({}, strict=False)
    assert len(whole) == 1


def test_what_a_test_scores(tmp_path):
    """The host loads what fits and scores the rest at random; an auxiliary head has no part in a test."""
    model = nn.ModuleDict(dict(a=nn.Linear(2, 3), auxiliary_head=nn.Linear(2, 3)))
    for state, error in (
        (model.state_dict(), None),
        ({f'module.{key}': value for key, value in model.state_dict().items()}, None),
        (_without(model.state_dict(), 'auxiliary_head.weight', 'auxiliary_head.bias'), None),
        (_without(model.state_dict(), 'a.bias'), r'does not fit .*3 weights matched, 1 missed \(first a\.bias\)'),
        (
            model.state_dict() | {'a.weight': torch.ones(3, 4)},
            r'a\.weight: \(3, 4\) in the file, \(3, 2\) in the model',
        ),
        ({'b.weight': torch.ones(1)}, 'of another network: 0 weights matched, 4 missed'),
    ):
        torch.save(state, tmp_path / 'a.pth')
        if error:
            with pytest.raises(CheckpointError, match=error):
                check_weights(model, tmp_path / 'a.pth')
        else:
            check_weights(model, tmp_path / 'a.pth')
            check_weights(nn.ModuleDict({'module': model}), tmp_path / 'a.pth')
