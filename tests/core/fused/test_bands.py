"""The banded pass: sizes, borders of bands, ways to look rows up, exponents that could underflow."""

import pytest
import torch

from tests.core.fused.cases import check, make_case


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('low', 'high'),
    [
        ((1, 1), (6, 7)),
        ((1, 5), (1, 9)),
        ((3, 4), (3, 4)),
        ((4, 3), (8, 3)),
        ((5, 7), (37, 3)),
        ((6, 6), (4, 5)),
        ((9, 9), (65, 65)),
        ((7, 5), (1, 1)),
    ],
    ids=str,
)
def test_sizes(low, high, align_corners, augment_at):
    """Guards the rules at the edges: single pixels, no up-sampling, down-sampling, odd ratios."""
    for images in (1, 3):
        case, _ = make_case(images=images, low=low, high=high)
        check(case, 2e-14, align_corners=align_corners, augment_at=augment_at)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('band_bytes', [1, 2000, 5000, 20000, 1 << 30])
def test_band_size_changes_nothing(band_bytes, augment_at):
    """Guards the borders of bands and of groups of images, from one row of one image to everything at once."""
    case, weights = make_case(images=5)
    for reduction in ('mean', 'none'):
        check(case, 2e-14, band_bytes, align_corners=True, augment_at=augment_at, reduction=reduction, **weights)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('classes', [1, 2, 19, 60])
def test_number_of_classes(classes, augment_at):
    """Guards both ways to look rows up: the one-hot product for few classes and the direct one for many."""
    case, _ = make_case(classes=classes, low=(12, 12), high=(31, 33))
    check(case, 2e-14, align_corners=False, augment_at=augment_at)


@pytest.mark.parametrize('classes', [20, 60])
def test_shift_gradient_of_many_pixels_keeps_float32_accuracy(classes):
    """Guards the sum over all pixels of a class against adding one after the other in float32 (error 4e-5)."""
    case, _ = make_case(images=1, classes=classes, low=(8, 8), high=(250, 250), dtype=torch.float32)
    case['labels'][torch.rand(case['labels'].shape) < 0.9] = 1
    check(case, 1e-6, 1 << 30, align_corners=False, augment_at='label')


def test_lookup_in_the_way_of_an_accelerator(monkeypatch):
    """Guards the one-hot product over all rows and the unconditional maximum, which no CPU would take by itself."""
    monkeypatch.setattr('mmseg_isda.core.devices.waits', lambda device: True)
    for augment_at in ('feature', 'label'):
        case, weights = make_case(classes=60)
        check(case, 2e-14, 5000, align_corners=True, augment_at=augment_at, **weights)
        case, _ = make_case(dtype=torch.float32, spread=1e3)
        check(case, 1e-6, align_corners=True, augment_at=augment_at)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('spread', [1e2, 1e3, 1e4])
def test_extreme_logits_do_not_underflow(spread, augment_at):
    """Guards -log p where p is below the smallest float32: softmax and a logarithm would give infinity."""
    case, _ = make_case(dtype=torch.float32, spread=spread)
    check(case, 1e-6, align_corners=True, augment_at=augment_at)
    check(case, 1e-6, align_corners=True, augment_at=augment_at, reduction='none')


@pytest.mark.parametrize('low', [-60.0, -130.0, -260.0, -600.0])
def test_disagreeing_corners_do_not_underflow(low):
    """Guards the bound on exponents: between four pixels, each certain of another class, all classes are far down."""
    logits = torch.full((1, 4, 4), low).where(~torch.eye(4, dtype=torch.bool), 0.0).view(1, 4, 2, 2)
    labels = torch.arange(25).remainder(4).view(1, 5, 5)
    case = {'logits': logits.requires_grad_(), 'labels': labels, 'shift': None}
    check(case, 1e-6, align_corners=True)


@pytest.mark.parametrize('low', [-60.0, -90.0, -500.0])
def test_extreme_shift_does_not_underflow(low):
    """Guards the same bound for a table that turns the order of the classes around after the up-sampling."""
    case, _ = make_case(dtype=torch.float32, spread=0.3)
    with torch.no_grad():
        case['logits'][:, 1:] += low
        case['shift'][:, 1:] -= low
    # The terms cancel each other, so that float32 leaves this much.
    check(case, 2e-6 * abs(low), align_corners=False, augment_at='label')
    case, _ = make_case(dtype=torch.float32)
    with torch.no_grad():
        case['shift'] *= abs(low)
    check(case, 1e-6, align_corners=False, augment_at='label')
