"""Cases of the fused loss, and the comparison with float64 autograd of the plain expression."""

import torch

from mmseg_isda.core.fused import fused_cross_entropy
from tests.reference import eq7_logits, reduced

IGNORE = 255


def make_case(images=2, classes=5, low=(4, 5), high=(17, 23), dtype=torch.float64, seed=0, spread=3.0, device='cpu'):
    """Random logits, labels with a tenth ignored, a shift and both kinds of weights; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (images, *high), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = IGNORE
    case = {
        'logits': (torch.randn(images, classes, *low, generator=generator) * spread).to(device, dtype).requires_grad_(),
        'labels': labels.to(device),
        'shift': torch.rand(classes, classes, generator=generator).mul(2).to(device, dtype).requires_grad_(),
    }
    weights = {
        'weight': torch.rand(labels.shape, generator=generator).to(device, dtype),
        'class_weight': torch.rand(classes, generator=generator).add(0.5).to(device, dtype),
    }
    return case, weights


def reference(logits, labels, shift=None, *, align_corners, augment_at='feature', ignore_index=IGNORE, **reduction):
    """Plain cross entropy in float64 with MMSegmentation's rules of averaging."""
    z = eq7_logits(logits, labels, shift, augment_at=augment_at, align_corners=align_corners, ignore_index=ignore_index)
    losses = torch.nn.functional.cross_entropy(z, labels, reduction='none', ignore_index=ignore_index)
    return reduced(losses, labels, ignore_index=ignore_index, **reduction)


def gradients(loss, case, seed=1):
    """Of the scalar loss, or of a random projection of a map of losses."""
    torch.manual_seed(seed)
    projection = torch.rand(loss.shape, dtype=torch.float64).to(loss)
    inputs = [case[name] for name in ('logits', 'shift') if case[name] is not None]
    return torch.autograd.grad((loss * projection).sum(), inputs, allow_unused=True)


def worst_error(actual, expected):
    """Largest difference over the largest value expected."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def check(case, tolerance, band_bytes=None, **options):
    """Compare loss and gradients of the fused pass with float64."""
    loss = fused_cross_entropy(**case, band_bytes=band_bytes, **options)
    expected = reference(**case, **options)
    assert loss.shape == expected.shape
    assert worst_error(loss, expected) <= tolerance
    for grad, truth in zip(gradients(loss, case), gradients(expected, case), strict=True):
        assert (grad is None) == (truth is None)
        if truth is not None:
            assert worst_error(grad, truth) <= tolerance
