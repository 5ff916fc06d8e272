import copy
import pickle

import pytest
import torch
from torch import nn

from mmseg_isda.engine import ClassifierTap
from mmseg_isda.engine.tap import leads_to


@pytest.fixture
def tap():
    tap = ClassifierTap(nn.Conv2d(3, 5, 1), 'head.conv_seg')
    tap.num_consumers = 1
    return tap


def test_it_keeps_what_enters_and_leaves_in_training(tap):
    features = torch.randn(2, 3, 4, 4)
    logits = tap.classifier(features)
    tapped = tap.take()
    assert tapped.features is features and tapped.logits is logits


def test_it_keeps_nothing_in_evaluation(tap):
    """Guards against features that a validation in between would leave to the next training iteration."""
    tap.classifier.eval()
    tap.classifier(torch.randn(2, 3, 4, 4))
    assert tap.take() is None and tap.version == 0


def test_nothing_is_left_once_every_loss_has_taken_it(tap):
    """Guards the memory: the features must not outlive the loss."""
    tap.num_consumers = 2
    tap.classifier(torch.randn(2, 3, 4, 4))
    assert tap.take() is not None
    assert tap.take() is not None
    assert tap.take() is None


def test_the_weight_is_a_matrix_with_a_graph(tap):
    assert tap.weight.shape == (5, 3) and tap.weight.requires_grad
    assert ClassifierTap(nn.Linear(3, 5), 'fc').weight.shape == (5, 3)


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copied_classifier_has_a_tap_of_its_own(tap, duplicate):
    """Guards EMAHook: its copy must not fill the tap of the network that trains, nor fail on tensors with a graph."""
    tap.classifier(torch.randn(1, 3, 2, 2, requires_grad=True))
    version = tap.version
    other = duplicate(tap.classifier)
    other(torch.zeros(1, 3, 2, 2))
    assert tap.version == version
    assert tap.take().features.any()


def test_logits_of_another_classifier_are_told_apart(tap):
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    logits, foreign = tap.classifier(features), nn.Conv2d(3, 5, 1)(features)
    up = nn.functional.interpolate(logits.double(), scale_factor=2)
    assert leads_to(logits, logits.grad_fn) and leads_to(up, logits.grad_fn) and leads_to(up * 2 + 1, logits.grad_fn)
    assert not leads_to(foreign, logits.grad_fn)
    assert not leads_to(nn.functional.interpolate(foreign, scale_factor=2), logits.grad_fn)


@pytest.mark.parametrize(
    'module', [nn.Conv2d(3, 5, 3), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(3, 5, 1, stride=2), nn.Identity()]
)
def test_other_modules_are_refused(module):
    with pytest.raises(TypeError, match=r'decode_head\.x must be a linear layer or a 1x1 convolution'):
        ClassifierTap(module, 'decode_head.x')


def test_a_binary_classifier_is_refused():
    with pytest.raises(ValueError, match=r'single output channel.*out_channels=2'):
        ClassifierTap(nn.Conv2d(3, 1, 1), 'head.conv_seg')
