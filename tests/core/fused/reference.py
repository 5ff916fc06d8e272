"""What the tests of the fused loss compare it with: float64 autograd of the plain expression."""

import torch
import torch.nn.functional as F

from mmseg_isda.core.fused import fused_cross_entropy

IGNORE = 255
EPS = torch.finfo(torch.float32).eps


def make_case(images=2, classes=5, low=(4, 5), high=(17, 23), dtype=torch.float64, seed=0, spread=3.0):
    """Random logits, labels with a tenth ignored, a shift and both kinds of weights."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (images, *high), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = IGNORE
    case = {
        'logits': (torch.randn(images, classes, *low, generator=generator) * spread).to(dtype).requires_grad_(),
        'labels': labels,
        'shift': torch.rand(classes, classes, generator=generator).mul(2).to(dtype).requires_grad_(),
    }
    weights = {
        'weight': torch.rand(labels.shape, generator=generator).to(dtype),
        'class_weight': torch.rand(classes, generator=generator).add(0.5).to(dtype),
    }
    return case, weights


def plain_logits(logits, labels, shift, align_corners, augment_at):
    """The equation, literally: one-hot labels times the table, added before or after the up-sampling."""

    def add(x, y):
        one_hot = (y.unsqueeze(1) == torch.arange(len(shift)).view(1, -1, 1, 1)).double()
        return x + torch.einsum('nyhw,yc->nchw', one_hot, shift.double())

    logits = logits.double()
    if shift is not None and augment_at == 'feature':
        low = F.interpolate(labels[:, None].double(), size=logits.shape[2:], mode='nearest')[:, 0].long()
        logits = add(logits, low)
    logits = F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)
    return add(logits, labels) if shift is not None and augment_at == 'label' else logits


def reference(
    logits,
    labels,
    shift=None,
    *,
    align_corners,
    augment_at='feature',
    weight=None,
    class_weight=None,
    reduction='mean',
    avg_factor=None,
    avg_non_ignore=False,
    ignore_index=IGNORE,
):
    """Plain cross entropy in float64 with MMSegmentation's rules of averaging."""
    z = plain_logits(logits, labels, shift, align_corners, augment_at)
    class_weight = None if class_weight is None else class_weight.double()
    loss = F.cross_entropy(z, labels, weight=class_weight, reduction='none', ignore_index=ignore_index)
    if weight is not None:
        loss = loss * weight.double()
    if reduction != 'mean':
        return loss if reduction == 'none' else loss.sum()
    valid = labels[labels != ignore_index]
    if avg_factor is None:
        avg_factor = labels.numel() if not avg_non_ignore else valid.numel()
        if class_weight is not None:
            avg_factor = class_weight[valid].sum()
    return loss.sum() / (float(avg_factor) + EPS)


def gradients(loss, case, seed=1):
    """Of the scalar loss, or of a random projection of a map of losses."""
    torch.manual_seed(seed)
    projection = torch.rand(loss.shape, dtype=torch.float64).to(loss.dtype)
    inputs = [case[name] for name in ('logits', 'shift') if case[name] is not None]
    return torch.autograd.grad((loss * projection).sum(), inputs, allow_unused=True)


def worst_error(actual, expected):
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def check(case, tolerance, band_bytes=None, **options):
    loss = fused_cross_entropy(**case, band_bytes=band_bytes, **options)
    expected = reference(**case, **options)
    assert loss.shape == expected.shape
    assert worst_error(loss, expected) <= tolerance
    for grad, truth in zip(gradients(loss, case), gradients(expected, case), strict=True):
        assert (grad is None) == (truth is None)
        if truth is not None:
            assert worst_error(grad, truth) <= tolerance
