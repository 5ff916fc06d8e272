"""Which classifier a loss is bound to."""

import pytest
import torch
from torch import nn

from mmseg_isda.engine import bind_isda_losses
from tests.engine.toy import Head, Loss, logits_of


def test_losses_find_the_classifier_of_the_nearest_owner():
    model = nn.ModuleDict(dict(a=Head(Loss()), b=Head(Loss())))
    bound = bind_isda_losses(model)
    assert list(bound) == ['a', 'b']
    assert bound['a'].tap.classifier is model['a'].fc and bound['b'].tap.classifier is model['b'].fc
    assert bound['a'].statistics.covariance.shape == (3, 4)


def test_two_losses_of_one_head_share_a_tap_and_keep_their_own_statistics():
    head = Head(Loss(), Loss(covariance='full'))
    bound = bind_isda_losses(nn.ModuleDict(dict(head=head)))
    assert list(bound) == ['head', 'head.losses.1']
    logits = logits_of(head, 6)
    for loss in head.losses:
        loss(logits, torch.tensor([0, 1, 2, 0, 1, 2]))
        assert loss.statistics.count.tolist() == [2, 2, 2]
    assert head.losses[0].tap is head.losses[1].tap


def test_binding_twice_changes_nothing():
    """Guards statistics that a second Runner.train would reset or count twice."""
    head = Head(Loss())
    model = nn.ModuleDict(dict(head=head))
    statistics = bind_isda_losses(model)['head'].statistics
    assert bind_isda_losses(model)['head'].statistics is statistics
    head.losses[0](logits_of(head), torch.tensor([0, 1]))
    assert statistics.count.sum() == 2 and head.losses[0].tap.num_consumers == 1


def test_a_loss_that_comes_in_later_is_bound_beside_the_others():
    head = Head(Loss())
    model = nn.ModuleDict(dict(head=head))
    first = bind_isda_losses(model)['head']
    head.losses.append(Loss())
    assert bind_isda_losses(model)['head.losses.1'].tap is first.tap


def test_statistics_follow_the_classifier_to_its_device():
    """Guards a checkpoint that is loaded before the loss is bound: its statistics begin on the CPU."""
    loss = Loss()
    state = {'statistics.count': torch.ones(3).long(), 'statistics.mean': torch.ones(3, 4)}
    loss.load_state_dict({**state, 'statistics.covariance': torch.ones(3, 4)})
    head = Head(loss).to('meta')
    loss.statistics.to_empty(device='cpu')
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    assert loss.statistics.mean.device.type == 'meta'


def test_without_augmentation_nothing_is_bound():
    loss = Loss(lambda_0=0)
    assert bind_isda_losses(nn.ModuleDict(dict(head=Head(loss)))) == {}
    assert loss.statistics is None and not loss.state_dict()


def test_a_model_without_a_loss_is_told_about_the_criterion():
    """Guards a criterion that stands beside its network: nothing would be bound, in silence."""
    with pytest.warns(UserWarning, match=r'Linear holds no ISDA loss.*ISDACriterion'):
        assert bind_isda_losses(nn.Linear(2, 3)) == {}


@pytest.mark.parametrize('wrap', [lambda head: nn.ModuleDict(dict(head=head)), lambda head: head])
def test_a_wrong_classifier_name_lists_the_candidates(wrap):
    """Also where the head is the root, whose path is empty."""
    with pytest.raises(ValueError, match=r"'fc_out'.*classifier=\.\.\..*: (head\.)?fc$"):
        bind_isda_losses(wrap(Head(Loss(classifier='fc_out'))))


def test_a_module_that_is_no_classifier_is_refused():
    head = Head(Loss())
    head.fc = nn.Conv2d(4, 3, 3)
    with pytest.raises(TypeError, match=r'head\.fc must be a linear layer or a 1x1 convolution'):
        bind_isda_losses(nn.ModuleDict(dict(head=head)))
