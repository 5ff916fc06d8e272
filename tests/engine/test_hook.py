"""The tie between losses and classifiers, on modules of no toolkit."""

import pytest
import torch
from torch import nn

from mmseg_isda.engine import ISDALossBase, bind_isda_losses


class Loss(ISDALossBase):
    def __init__(self, lambda_0=1.0, classifier='fc', covariance='diagonal'):
        super().__init__(
            lambda_0=lambda_0, covariance=covariance, schedule='constant', sync=False, classifier=classifier
        )

    def forward(self, labels, logits=None):
        tapped = self._take_features(torch.zeros(1) if logits is None else logits)
        if tapped is not None:
            self._update(tapped.features, labels, 255)
        return self._shift()


class Head(nn.Module):
    def __init__(self, *losses, name='fc'):
        super().__init__()
        self.add_module(name, nn.Linear(4, 3))
        self.losses = nn.ModuleList(losses)


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
    head.fc(torch.randn(6, 4))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for loss in head.losses:
        loss(labels)
        assert loss.statistics.count.tolist() == [2, 2, 2]


def test_binding_twice_changes_nothing():
    """Guards statistics that a second Runner.train would reset or count twice."""
    head = Head(Loss())
    model = nn.ModuleDict(dict(head=head))
    statistics = bind_isda_losses(model)['head'].statistics
    assert bind_isda_losses(model)['head'].statistics is statistics
    head.fc(torch.randn(2, 4))
    head.losses[0](torch.tensor([0, 1]))
    assert head.losses[0].tap.take() is None
    assert statistics.count.sum() == 2


def test_a_second_call_in_one_iteration_does_not_update_again():
    """Guards OHEM sampling, which calls every loss twice."""
    head = Head(Loss())
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    labels = torch.tensor([0, 1])
    for calls in (1, 2, 3):
        head.fc(torch.randn(2, 4))
        first = head.losses[0](labels)
        assert torch.equal(first, head.losses[0](labels))
        assert head.losses[0].statistics.count.sum() == 2 * calls


def test_logits_of_another_classifier_are_refused():
    """Guards heads with several classifiers, whose logits would silently get the shift of a foreign weight."""
    head = Head(Loss())
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    features, labels = torch.randn(2, 4, requires_grad=True), torch.tensor([0, 1])
    own, foreign = head.fc(features), nn.Linear(4, 3)(features)
    head.losses[0](labels, own * 2)
    with pytest.raises(RuntimeError, match=r'do not come from head\.fc.*classifier='):
        head.losses[0](labels, foreign)


def test_a_classifier_that_stops_to_run_is_noticed():
    """Guards a classifier that is put into evaluation while its loss goes on: old statistics would be used."""
    head = Head(Loss())
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    head.fc(torch.randn(2, 4))
    head.losses[0](torch.tensor([0, 1]))
    head.losses[0].check_iteration()
    head.fc.eval()(torch.randn(2, 4))
    with pytest.raises(RuntimeError, match=r'head\.fc has not run'):
        head.losses[0](torch.tensor([0, 1]))


def test_statistics_follow_the_classifier_to_its_device():
    """Guards a checkpoint that is loaded before the loss is tied: its statistics begin on the CPU."""
    loss = Loss()
    state = {'statistics.count': torch.ones(3).long(), 'statistics.mean': torch.ones(3, 4)}
    loss.load_state_dict({**state, 'statistics.covariance': torch.ones(3, 4)})
    head = Head(loss).to('meta')
    loss.statistics.to_empty(device='cpu')
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    assert loss.statistics.mean.device.type == 'meta'


def test_without_augmentation_nothing_is_tied():
    loss = Loss(lambda_0=0)
    assert bind_isda_losses(nn.ModuleDict(dict(head=Head(loss)))) == {}
    assert loss.statistics is None and not loss.state_dict()


def test_an_unbound_loss_says_which_line_is_missing():
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(isda=dict\(type='ISDAHook'\)\)"):
        Loss()(torch.tensor([0]))


def test_a_classifier_that_did_not_run_is_named():
    head = Head(Loss())
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    with pytest.raises(RuntimeError, match=r'head\.fc has not run'):
        head.losses[0](torch.tensor([0]))


def test_a_wrong_classifier_name_lists_the_candidates():
    model = nn.ModuleDict(dict(head=Head(Loss(classifier='fc_out'))))
    with pytest.raises(ValueError, match=r"'fc_out'.*classifier=\.\.\..*head\.fc"):
        bind_isda_losses(model)


def test_a_module_that_is_no_classifier_is_refused():
    head = Head(Loss())
    head.fc = nn.Conv2d(4, 3, 3)
    with pytest.raises(TypeError, match=r'head\.fc must be a linear layer or a 1x1 convolution'):
        bind_isda_losses(nn.ModuleDict(dict(head=head)))


def test_the_size_of_the_augmentation_is_reported():
    head = Head(Loss(lambda_0=2.0))
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    assert head.losses[0].check_iteration() == {}
    head.fc(torch.randn(6, 4))
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    shift = head.losses[0](labels)
    seen = head.losses[0].check_iteration()
    wrong = torch.stack([shift[y, j] for y in labels.tolist() for j in range(3) if j != y])
    assert seen['shift'] == pytest.approx(wrong.mean().item()) and seen['lambda'] == 2.0 and seen['skipped'] == 0


def test_a_bad_label_of_an_accelerator_is_raised_after_the_iteration():
    """On a GPU the check cannot wait for the device: what it found is raised once the iteration is over."""
    loss = Loss()
    loss._suspect_label = (torch.tensor(7), 3, 255)
    with pytest.raises(ValueError, match='value 7'):
        loss.check_iteration()
    loss._suspect_label = (torch.tensor(255), 3, 255)
    assert loss.check_iteration() == {}
    loss._suspect_label = (torch.tensor(7), 3, 255)
    with pytest.raises(ValueError, match='value 7'):
        loss._raise_suspect()  # what the next call does without a hook


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lambda_0=-1.0), 'lambda_0 must be 0 or more, got -1'),
        (dict(covariance='low'), "covariance must be one of .* got 'low'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Loss(**options)
