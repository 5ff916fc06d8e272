import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mmseg_isda.core import fused_cross_entropy, isda_cross_entropy, logit_shift, mean_shift
from mmseg_isda.core.cross_entropy import mean_margin
from tests.core.test_shift import KINDS, covariance_of
from tests.reference import as_matrices, eq7_map, reduced

CLASSES, SIZE = 5, 4


@pytest.fixture
def scene():
    """Low-resolution features, labels with ignored pixels at full size, and a classifier, in float64."""
    features = torch.randn(2, SIZE, 3, 4, dtype=torch.float64)
    labels = torch.randint(0, CLASSES + 1, (2, 7, 9))
    labels[labels == CLASSES] = 255
    weight, bias = torch.randn(CLASSES, SIZE, dtype=torch.float64), torch.randn(CLASSES, dtype=torch.float64)
    return features, labels, weight, bias


def classify(features, weight, bias):
    return F.conv2d(features, weight[..., None, None], bias)


def upsampled(logits, labels, align_corners):
    return F.interpolate(logits, size=labels.shape[1:], mode='bilinear', align_corners=align_corners)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('align_corners', [False, True])
def test_value_equals_equation_7_for_every_reduction_and_weighting(scene, kind, augment_at, align_corners, dtype):
    features, labels, weight, bias = scene
    covariance = covariance_of(kind)
    low = classify(features, weight, bias)
    slow = eq7_map(
        low, labels, weight, as_matrices(covariance, CLASSES), 3.0, augment_at=augment_at, align_corners=align_corners
    )
    shift = logit_shift(weight.to(dtype), covariance.to(dtype), 3.0)
    logits = upsampled(low.to(dtype), labels, align_corners)
    pixel_weight, class_weight = torch.rand(labels.shape), torch.rand(CLASSES) + 0.1
    for reduction, w, c, non_ignore in itertools.product(
        ('none', 'mean', 'sum'), (None, pixel_weight), (None, class_weight), (False, True)
    ):
        options = dict(reduction=reduction, avg_non_ignore=non_ignore, weight=w)
        got = isda_cross_entropy(
            logits,
            labels,
            shift,
            class_weight=None if c is None else c.to(dtype),
            augment_at=augment_at,
            feature_size=(3, 4),
            align_corners=align_corners,
            **options,
        )
        expected = reduced(slow, labels, class_weight=c, **options)
        torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('kind', ['diagonal', 'full'])
def test_gradcheck_through_table_up_sampling_and_loss(scene, kind, augment_at):
    """The gradient reaches the features, and the weight both ways: through the logits and through the table."""
    features, labels, weight, bias = scene
    covariance, labels = covariance_of(kind), labels[:1, :5, :6]

    def loss(features, weight, bias):
        logits = upsampled(classify(features[:1], weight, bias), labels, True)
        shift = logit_shift(weight, covariance, 2.0)
        return isda_cross_entropy(logits, labels, shift, augment_at=augment_at, feature_size=(3, 4), align_corners=True)

    inputs = [tensor.clone().requires_grad_() for tensor in (features, weight, bias)]
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared'])
def test_it_bounds_the_expectation_over_augmented_features_and_is_close_for_small_lambda(kind):
    """Proposition 1 against a Monte-Carlo estimate of Eq. 6."""
    features, labels = torch.randn(6, SIZE, dtype=torch.float64), torch.randint(0, CLASSES, (6,))
    weight, covariance = torch.randn(CLASSES, SIZE, dtype=torch.float64), covariance_of(kind)
    roots = torch.linalg.cholesky(as_matrices(covariance, CLASSES) + 1e-12 * torch.eye(SIZE, dtype=torch.float64))
    noise = torch.randn(20000, 6, SIZE, dtype=torch.float64)
    for strength in (0.005, 1.0, 5.0):
        augmented = features + strength**0.5 * torch.einsum('pab,mpb->mpa', roots[labels], noise)
        losses = F.cross_entropy((augmented @ weight.t()).flatten(0, 1), labels.repeat(20000), reduction='none')
        means = losses.view(20000, 6).mean(1)
        expected, error = means.mean().item(), means.std().item() / 20000**0.5
        bound = isda_cross_entropy(features @ weight.t(), labels, logit_shift(weight, covariance, strength)).item()
        assert bound > expected - 4 * error
        if strength == 0.005:
            assert bound < expected * 1.03 + 4 * error


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_an_all_ignored_batch_gives_zero_with_finite_gradients(augment_at):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    shift = torch.rand(3, 3, requires_grad=True)
    for non_ignore in (False, True):
        loss = isda_cross_entropy(
            logits,
            torch.full((1, 4, 4), 255),
            shift,
            avg_non_ignore=non_ignore,
            augment_at=augment_at,
            feature_size=(2, 2),
        )
        loss.backward()
        assert loss == 0 and not logits.grad.any() and not shift.grad.any()


def test_ignored_pixels_get_no_shift(scene):
    _, labels, _, _ = scene
    labels = labels.clone()
    labels[:, 2:] = 255
    logits = torch.randn(2, CLASSES, 7, 9, requires_grad=True)
    isda_cross_entropy(logits, labels, torch.rand(CLASSES, CLASSES), reduction='sum').backward()
    assert not logits.grad[:, :, 2:].any() and logits.grad[:, :, :2].any()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_shifted_in_float32(dtype):
    logits, labels = torch.randn(1, 3, 4, 4).to(dtype).requires_grad_(), torch.randint(0, 3, (1, 4, 4))
    shift = torch.rand(3, 3)
    for augment_at in ('feature', 'label'):
        loss = isda_cross_entropy(logits, labels, shift, augment_at=augment_at, feature_size=(2, 2))
        expected = isda_cross_entropy(logits.float(), labels, shift, augment_at=augment_at, feature_size=(2, 2))
        assert loss.dtype == torch.float32 and torch.equal(loss, expected)
        loss.backward()
        assert logits.grad.dtype == dtype


def test_bad_labels_and_options_are_named():
    logits, labels, shift = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4)), torch.rand(3, 3)
    bad = labels.clone()
    for value, table_of_shifts in itertools.product((3, 7, -1, -100), (None, shift)):
        bad[0, 1, 1] = value
        with pytest.raises(ValueError, match=f'value {value}'):
            isda_cross_entropy(logits, bad, table_of_shifts)
    for options, message in [
        (dict(reduction='avg'), "reduction must be one of 'none', 'mean', 'sum', got 'avg'"),
        (dict(augment_at='pixel'), "augment_at must be one of 'feature', 'label', got 'pixel'"),
        (dict(label_smoothing=1.0), r'label_smoothing must lie in \[0, 1\), got 1.0'),
        (dict(reduction='sum', avg_factor=3), 'avg_factor'),
        (dict(weight=torch.ones(4, 4)), r'weight must have the shape of labels, \(1, 4, 4\), got \(4, 4\)'),
    ]:
        with pytest.raises(ValueError, match=message):
            isda_cross_entropy(logits, labels, shift, **options)
    with pytest.raises(ValueError, match=r'labels must have shape \(1, 4, 4\)'):
        isda_cross_entropy(logits, labels[0], shift)
    with pytest.raises(ValueError, match=r'shift must have shape \(3, 3\)'):
        isda_cross_entropy(logits, labels, shift[:2])


def test_mean_shift_is_the_mean_over_pixels_and_wrong_classes():
    shift = torch.rand(4, 4).fill_diagonal_(0)
    labels = torch.tensor([0, 0, 2, 3, 3, 3])
    wrong = [shift[y, j] for y in labels.tolist() for j in range(4) if j != y]
    torch.testing.assert_close(mean_shift(shift, torch.bincount(labels, minlength=4)), torch.stack(wrong).mean())
    assert mean_shift(shift, torch.zeros(4)) == 0


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('weighted', [False, True])
def test_label_smoothing_is_that_of_pytorch_on_shifted_logits(scene, weighted, augment_at):
    """The logits are raised by the table of the hard label; the targets are smoothed as torch smooths them."""
    features, labels, weight, bias = scene
    logits = upsampled(classify(features, weight, bias), labels, False)
    shift = logit_shift(weight, covariance_of('full'), 2.0)
    class_weight = torch.rand(CLASSES, dtype=torch.float64) if weighted else None
    options = dict(class_weight=class_weight, augment_at=augment_at, feature_size=(3, 4), avg_non_ignore=True)
    got = isda_cross_entropy(logits, labels, shift, label_smoothing=0.3, **options)
    rows = torch.cat([shift, shift.new_zeros(1, CLASSES)])
    if augment_at == 'label':
        added = rows[labels.clamp(max=CLASSES)].movedim(-1, 1)
    else:
        small = F.interpolate(labels[:, None].double(), size=(3, 4))[:, 0].long()
        added = upsampled(rows[small.clamp(max=CLASSES)].movedim(-1, 1), labels, False)
    expected = F.cross_entropy(logits + added, labels, class_weight, ignore_index=255, label_smoothing=0.3)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('loss', [isda_cross_entropy, partial(fused_cross_entropy, align_corners=False)])
def test_labels_of_weight_0_alone_have_no_loss(loss):
    """With label smoothing it was 1e8: their uniform part has weight, and was divided by next to nothing."""
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    labels, class_weight = torch.zeros(2, 3, 3, dtype=torch.long), torch.tensor([0.0, 1, 1, 1])
    labels[0, 0, 0] = 255
    value = loss(logits, labels, None, class_weight=class_weight, ignore_index=255, label_smoothing=0.1)
    value.backward()
    assert value == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_mean_margin_is_the_mean_over_labeled_pixels_of_the_plain_logits():
    """Guards a margin that counts ignored pixels, or takes the label itself for the largest other class."""
    logits, labels = torch.randn(2, 4, 3), torch.tensor([[0, 3, 255], [2, 255, 1]])
    margins = [
        (logits[n, y, p] - max(logits[n, k, p] for k in range(4) if k != y))
        for n in range(2)
        for p, y in enumerate(labels[n].tolist())
        if y != 255
    ]
    torch.testing.assert_close(mean_margin(logits, labels, 255), torch.stack(margins).mean())
    assert mean_margin(logits, torch.full_like(labels, 255), 255) == 0
