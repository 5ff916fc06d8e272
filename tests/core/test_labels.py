import pytest
import torch
import torch.nn.functional as F

from mmseg_isda.core import check_labels, mask_invalid_labels, resize_labels


@pytest.mark.parametrize('size', [(97, 97), (24, 24), (13, 31), (193, 193), (769, 769)])
def test_nearest_down_sampling_is_that_of_interpolate(size):
    """Guards the rule of rounding, which differs between libraries."""
    labels = torch.randint(0, 256, (2, 193, 193))
    expected = F.interpolate(labels[:, None].double(), size=size, mode='nearest')[:, 0].long()
    assert torch.equal(resize_labels(labels, size), expected)


def test_bad_labels_are_masked_and_one_of_them_is_told():
    labels = torch.tensor([[0, 7, 2], [255, 1, 7]])
    masked, suspect = mask_invalid_labels(labels, 3)
    assert masked.tolist() == [[0, 255, 2], [255, 1, 255]] and suspect == 7


def test_good_labels_pass():
    labels = torch.tensor([0, 2, 255])
    masked, suspect = mask_invalid_labels(labels, 3)
    assert torch.equal(masked, labels) and suspect in (0, 2, 255)
    check_labels(labels, 3)


def test_a_bad_label_is_named():
    with pytest.raises(ValueError, match=r'value -1, but must lie in \[0, 3\)'):
        check_labels(torch.tensor([0, -1]), 3)
