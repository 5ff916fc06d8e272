"""What was done to a classifier's output, as the autograd graph tells it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_isda.core import ClassifierTap
from mmseg_isda.core.graph import check_unchanged, map_size, upsampling_of


@pytest.fixture
def tap(device):
    return ClassifierTap(nn.Conv2d(3, 5, 1).to(device))


def features(device):
    return torch.randn(2, 3, 4, 4, device=device, requires_grad=True)


def test_the_grid_of_tokens_comes_from_the_up_sampling():
    tap = ClassifierTap(nn.Linear(3, 5), 'fc')
    logits = tap.classifier(torch.randn(2, 24, 3, requires_grad=True)).transpose(1, 2).reshape(2, 5, 4, 6)
    up = F.interpolate(logits, size=(16, 24), mode='bilinear')
    assert map_size(logits, tap.find(logits)) == map_size(up, tap.find(up)) == (4, 6)
    nearest = F.interpolate(logits, size=(16, 24))
    with pytest.raises(ValueError, match='24 tokens, whose grid.*do not tell'):
        map_size(nearest, tap.find(nearest))


@pytest.mark.parametrize('align_corners', [False, True])
def test_what_was_done_to_the_logits_is_read_from_the_graph(tap, device, align_corners):
    logits = tap.classifier(features(device))
    found = tap.find(logits)
    options = dict(size=(9, 9), mode='bilinear', align_corners=align_corners)
    assert upsampling_of(F.interpolate(logits, **options), found) is align_corners
    assert upsampling_of(F.interpolate(logits.double(), **options).float(), found) is align_corners
    for changed in (F.interpolate(logits * 2, **options), F.interpolate(logits, size=(9, 9)), logits):
        assert upsampling_of(changed, found) is None
    check_unchanged(logits.view(2, 5, 16), found, 'conv')
    with pytest.raises(RuntimeError, match='not what conv makes, but MulBackward0 of it'):
        check_unchanged(logits * 2, found, 'conv')


CHANGES = {
    'a temperature': lambda logits: logits / 0.1,
    'a temperature after the up-sampling': lambda logits: F.interpolate(logits, scale_factor=2, mode='bilinear') * 3,
    'an order of the batch': lambda logits: logits[[1, 0]],
    'a flip': lambda logits: F.interpolate(logits.flip(3), scale_factor=2, mode='bilinear'),
    'rows for columns': lambda logits: logits.transpose(2, 3),
    'a second classifier': lambda logits: nn.Conv2d(5, 5, 1, device=logits.device)(logits),
    'a branch that is added': lambda logits: logits + logits.mean(1, keepdim=True),
    'a value in place': lambda logits: logits.mul_(2),
}


@pytest.mark.parametrize('change', CHANGES)
def test_maps_that_are_not_the_classifier_s_own_are_refused(tap, device, change):
    """Guards the table of shifts and the statistics: both would be those of other logits, or of other pixels."""
    logits = CHANGES[change](tap.classifier(features(device)))
    with pytest.raises(RuntimeError, match='not what conv makes'):
        check_unchanged(logits, tap.find(logits), 'conv')


def test_rows_for_columns_are_not_fused(tap, device):
    """Guards the fused pass, which takes the classifier's output in place of its up-sampled one."""
    logits = tap.classifier(features(device))
    turned = F.interpolate(logits.transpose(2, 3), size=(9, 9), mode='bilinear')
    assert upsampling_of(turned, tap.find(turned)) is None
