"""What the registered ISDA losses share."""

import pytest
import torch
from torch import nn

from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.engine.loss import LabelGuard
from tests.engine.toy import Head, Loss, logits_of


@pytest.fixture
def head():
    head = Head(Loss(lambda_0=2.0))
    bind_isda_losses(nn.ModuleDict(dict(head=head)))
    return head


LABELS = torch.tensor([0, 1])


def test_a_second_call_in_one_iteration_does_not_update_again(head):
    """Guards OHEM sampling, which calls every loss twice."""
    for calls in (1, 2, 3):
        logits = logits_of(head)
        first = head.losses[0](logits, LABELS)
        assert torch.equal(first, head.losses[0](logits, LABELS))
        assert head.losses[0].statistics.count.sum() == 2 * calls


def test_no_pass_of_other_images_gets_under_the_labels(head):
    """Guards semi-supervised training: pseudo labels under no_grad, then a pass of unlabeled images with gradients."""
    labeled = torch.randn(2, 4)
    logits = head.fc(labeled)
    with torch.no_grad():
        head.fc(torch.randn(2, 4) + 50)
    head.fc(torch.randn(2, 4) + 50)
    head.losses[0](logits, LABELS)
    torch.testing.assert_close(head.losses[0].statistics.mean[:2], labeled)


def test_nothing_is_updated_under_no_grad(head):
    """Guards a validation loss whose network somebody forgot to put into evaluation."""
    with torch.no_grad():
        head.losses[0](logits_of(head), LABELS)
    assert not head.losses[0].statistics.count.any() and head.losses[0].check_iteration() == {}


def test_a_loss_in_eval_mode_that_trains_is_reported(head):
    """Guards a head that was left in evaluation: its training would be plain cross entropy, unnoticed."""
    head.eval()
    head.losses[0](logits_of(head), LABELS)
    assert head.losses[0].check_iteration() == {'eval': True} and head.losses[0].check_iteration() == {}


def test_an_unbound_loss_says_which_line_is_missing():
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(isda=dict\(type='ISDAHook'\)\)"):
        Loss()(torch.zeros(1, 3, requires_grad=True), torch.tensor([0]))


def test_the_size_of_the_augmentation_is_reported(head):
    assert head.losses[0].check_iteration() == {}
    table = head.losses[0](logits_of(head, 6), torch.tensor([0, 0, 0, 0, 1, 1]))
    seen = head.losses[0].check_iteration()
    assert seen['shift'] == pytest.approx(table.mean().item()) and seen['lambda'] == 2.0 and seen['skipped'] == 0
    assert not head.losses[0].tap._passes


def test_a_plain_loss_drops_the_statistics_of_an_isda_checkpoint(head):
    head.losses[0](logits_of(head), LABELS)
    plain = Loss(lambda_0=0)
    plain.load_state_dict(head.losses[0].state_dict())
    assert not plain.state_dict()


def test_a_bad_label_of_an_accelerator_is_raised_after_the_iteration(device):
    """On a GPU the check cannot wait for the device: what it found is raised once the iteration is over."""
    guard = LabelGuard()
    labels = torch.tensor([0, 7, 255], device=device)
    if device.type == 'cpu':
        assert guard(labels, 3, 255, 'head') is labels
        guard._suspect = (torch.tensor(7), 3, 255, 'head')
    else:
        assert guard(labels, 3, 255, 'head').tolist() == [0, 255, 255]
    with pytest.raises(ValueError, match='labels of head hold the value 7.*seg_pad_val'):
        guard.check()
    guard.check()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lambda_0=-1.0), r'lambda_0 must lie in \[0, 1e6\], got -1'),
        (dict(lambda_0=float('inf')), 'lambda_0 must lie in'),
        (dict(lambda_0=float('nan')), 'lambda_0 must lie in'),
        (dict(covariance='low'), "covariance must be one of .* got 'low'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Loss(**options)
