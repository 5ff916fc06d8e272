"""ExplicitSDALoss in MMPretrain: what it shares with ISDALoss, and covariances that are learned."""

from __future__ import annotations

import pytest
import torch

from tests.classification import toy

LEARNED = dict(num_classes=toy.CLASSES, num_features=toy.FEATURES)


def _loss(**options) -> dict:
    return dict(type='ExplicitSDALoss', **options)


def _value(loss: dict) -> tuple[torch.Tensor, torch.nn.Module]:
    """Loss of one batch of a network with fixed weights."""
    torch.manual_seed(1)
    network = toy.build(toy.model(loss))
    return toy.losses(network)['loss'], network


@pytest.mark.parametrize('covariance', ['full', 'diagonal', 'low_rank'])
def test_infinitely_many_samples_are_isda(covariance: str) -> None:
    """``num_samples=None`` is ISDALoss, and its gradient too."""
    explicit, network = _value(_loss(num_samples=None, covariance=covariance))
    isda, twin = _value(dict(type='ISDALoss', covariance=covariance))
    assert torch.equal(explicit, isda)
    explicit.backward(), isda.backward()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_many_samples_lie_between_plain_and_isda() -> None:
    """Eq. 9: above plain cross entropy, as something is augmented, and below the bound."""
    isda = float(_value(dict(type='ISDALoss'))[0].detach())
    plain = float(_value(dict(type='ISDALoss', lambda_0=0))[0].detach())
    many = float(_value(_loss(num_samples=20_000))[0].detach())
    assert plain + 5e-4 < many < isda + 1e-4


def test_statistics_take_each_batch_once() -> None:
    """They are those of ISDALoss: otherwise the samples would follow another distribution than the bound."""
    _, network = _value(_loss(num_samples=2))
    _, twin = _value(dict(type='ISDALoss'))
    ours, theirs = network.head.loss_module.statistics, twin.head.loss_module.statistics
    assert torch.equal(ours.count, theirs.count) and torch.equal(ours.covariance, theirs.covariance)


def test_evaluation_is_plain_cross_entropy() -> None:
    network = toy.build(toy.model(_loss(num_samples=3))).eval()
    plain = toy.build(toy.model(dict(type='ISDALoss', lambda_0=0))).eval()
    plain.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(toy.losses(network)['loss'], toy.losses(plain)['loss'])


@pytest.mark.parametrize('num_samples', [2, None])
def test_learned_covariances_are_trained(tmp_path, num_samples: int | None) -> None:
    """Parameters made when the loss is bound would come after the optimizer was built, and never move."""
    runner = toy.runner(tmp_path, toy.model(_loss(num_samples=num_samples, learned=LEARNED)), epochs=1)
    before = runner.model.head.loss_module.learned.root.detach().clone()
    runner.train()
    loss = runner.model.head.loss_module
    assert not torch.equal(loss.learned.root, before)
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert torch.equal(saved['head.loss_module.learned.root'], loss.learned.root)


def test_entropy_keeps_learned_covariances_from_vanishing() -> None:
    """Cross entropy alone pulls D to zero (a smaller shift is a smaller loss); the hinge pulls the other way."""

    def pull(entropy_weight: float) -> float:
        value, network = _value(
            _loss(num_samples=None, learned=LEARNED, entropy_weight=entropy_weight, entropy_margin=5.0)
        )
        root = network.head.loss_module.learned.root
        (grad,) = torch.autograd.grad(value, root)
        return float((grad * root).sum())

    assert pull(0.0) > 0 > pull(10.0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_samples=0), 'num_samples must be at least 1'),
        (dict(entropy_weight=-1), 'entropy_weight must be 0 or more'),
        (dict(num_sample=5), "did you mean 'num_samples'"),
        (dict(reduction='all'), 'reduction must be one of'),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        toy.build(toy.model(_loss(**options)))


def test_learned_covariances_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r'num_features = \(4, 6\), got \(4, 5\)'):
        _value(_loss(learned=dict(num_classes=4, num_features=5)))
