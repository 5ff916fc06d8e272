"""The focal loss that ISDA is compared with in segmentation."""

import pytest
import torch

from mmseg_isda.segmentation import SoftmaxFocalLoss

LOGITS = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.randint(5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
LABELS[0, 0] = 255


def by_hand(alpha, gamma):
    """Return the (N, H, W) losses in float64, pixel by pixel."""
    losses = torch.zeros(LABELS.shape, dtype=torch.float64)
    for index in torch.cartesian_prod(*map(torch.arange, LABELS.shape)).tolist():
        n, y, x = index
        if (label := LABELS[n, y, x].item()) != 255:
            p = LOGITS[n, :, y, x].double().softmax(0)[label]
            losses[n, y, x] = -alpha * (1 - p) ** gamma * p.log()
    return losses


@pytest.mark.parametrize(('alpha', 'gamma'), [(0.5, 1.0), (1.0, 2.0), (1.0, 0.0)])
def test_focal_loss_equals_its_equation(alpha, gamma):
    """Guards the softmax over the wrong axis, ignored pixels that count as classes, and what a mean divides by."""
    loss, expected = SoftmaxFocalLoss(alpha=alpha, gamma=gamma, loss_weight=2.0), 2 * by_hand(alpha, gamma)
    torch.testing.assert_close(loss(LOGITS, LABELS, reduction_override='none').double(), expected, rtol=1e-5, atol=1e-6)
    assert loss(LOGITS, LABELS).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    weight = torch.rand(LABELS.shape)
    weighted = loss(LOGITS, LABELS, weight=weight, avg_factor=7).item()
    assert weighted == pytest.approx((expected * weight).sum().item() / 7, rel=1e-5)


def test_gradient_is_finite_where_a_pixel_is_certain():
    """Guards a derivative of 0 ** (gamma - 1), and another ignored label than 255."""
    logits = torch.zeros(1, 3, 1, 2).index_fill_(1, torch.tensor(1), 200.0).requires_grad_()
    SoftmaxFocalLoss()(logits, torch.tensor([[[1, 7]]]), ignore_index=7).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    'options', [dict(gamma=0.5), dict(gamma='1'), dict(gamma=float('inf')), dict(alpha=0), dict(use_sigmoid=True)]
)
def test_what_the_focal_loss_refuses(options):
    """Guards settings that train to NaN, or another loss than the config asks for, in silence."""
    with pytest.raises(ValueError, match=next(iter(options))):
        SoftmaxFocalLoss(**options)


def test_a_single_channel_is_refused():
    """Its softmax is 1 whatever the network says, so the loss was 0."""
    with pytest.raises(ValueError, match='two output channels'):
        SoftmaxFocalLoss()(LOGITS[:, :1], LABELS)
