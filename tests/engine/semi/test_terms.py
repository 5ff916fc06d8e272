import math

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmseg_isda.engine.semi import RampUp, SemiTrainCfg, consistency_term


@pytest.mark.parametrize(
    ('now', 'expected'), [(0, 0.0), (1, math.exp(-5 * (79 / 80) ** 2)), (40, math.exp(-1.25)), (80, 1.0), (399, 1.0)]
)
def test_ramp_of_the_pi_model(now, expected):
    """Guards the published ramp: 80 epochs, nothing in epoch 0."""
    assert RampUp(begin=1, end=80).at(now) == pytest.approx(expected)


@pytest.fixture
def progress(monkeypatch):
    hub = MessageHub.get_instance('ramp_test')
    monkeypatch.setattr(MessageHub, 'get_current_instance', classmethod(lambda cls: hub))

    def set_progress(**values):
        for name, value in values.items():
            hub.update_info(name, value)

    yield set_progress
    for name in list(hub.runtime_info):
        hub.pop_info(name)


def test_ramps_follow_the_loop(progress):
    """Guards the counts that the ramp reads: epochs and iterations from 0."""
    progress(epoch=20, iter=500, max_epochs=100, max_iters=2500)
    assert RampUp(end=40)() == pytest.approx(math.exp(-5 / 4))
    assert RampUp(end=1000, by_epoch=False)() == pytest.approx(math.exp(-5 / 4))
    assert RampUp()() == 1.0


def test_a_ramp_by_epochs_refuses_a_loop_by_iterations(progress):
    """Guards against a weight that stays 0 for ever, as such a loop has but one epoch."""
    progress(epoch=0, iter=500, max_epochs=1, max_iters=2500)
    with pytest.raises(ValueError, match='set by_epoch=False and give begin and end in iterations'):
        RampUp(end=80)()


def test_a_ramp_without_a_runner_is_an_error(progress):
    with pytest.raises(ValueError, match='reads the progress of a Runner'):
        RampUp(end=80)()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(eta_1=-1.0), 'eta_1 must be a number, 0 or more, got -1.0'),
        (dict(eta_2=float('nan')), 'eta_2 must be'),
        (dict(eta_2=float('inf')), 'eta_2 must be'),
        (dict(eta_1='half'), "eta_1 must be a number, 0 or more, got 'half'"),
        (dict(rampup=80), 'rampup must be a dict of begin, end and by_epoch, got 80'),
        (dict(confidence=1.5), 'confidence must be 0 to 1, got 1.5'),
    ],
)
def test_weights_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SemiTrainCfg(**options)
    with pytest.raises(ValueError, match='begin and end of 0 or more'):
        RampUp(end=-1)


def test_a_loss_without_statistics_cannot_score_unlabeled_images():
    """Guards eta_1 > 0 beside CrossEntropyLoss, which would be silently nothing."""
    with pytest.raises(TypeError, match='whose statistics an ISDA loss keeps, but the loss is a CrossEntropyLoss'):
        consistency_term(nn.CrossEntropyLoss(), torch.randn(2, 3))
