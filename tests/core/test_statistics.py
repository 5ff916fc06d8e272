import math

import pytest
import torch

from mmseg_isda.core import ClassCovariance, new_statistics
from mmseg_isda.core.statistics import KINDS
from tests.reference import expected_covariance, two_pass_statistics

CLASSES, SIZE = 5, 6


def batch(images=2, height=5, width=7, offset=0.0, scale=1.0, absent=()):
    """(N, A, H, W) features whose classes differ, and labels with ignored pixels and without the absent classes."""
    labels = torch.randint(0, CLASSES + 1, (images, height, width))
    for label in (CLASSES, *absent):
        labels[labels == label] = 255
    centres = torch.randn(CLASSES + 1, SIZE)[labels.clamp(max=CLASSES)].permute(0, 3, 1, 2)
    mixing = torch.randn(SIZE, SIZE)
    noise = torch.einsum('ab,nbhw->nahw', mixing, torch.randn(images, SIZE, height, width))
    return (centres + noise) * scale + offset, labels


def rows(features, labels):
    return features.permute(0, 2, 3, 1).reshape(-1, SIZE), labels.flatten()


def joined(batches):
    pairs = [rows(*pair) for pair in batches]
    return torch.cat([f for f, _ in pairs]), torch.cat([y for _, y in pairs])


def relative_error(got, expected):
    return ((got.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize('kind', KINDS)
def test_many_batches_equal_two_passes_over_all_pixels(kind):
    """Guards Eqs. 1 to 3: a mean of batch covariances, or a forgotten spread of the batch means, fails."""
    statistics = ClassCovariance(CLASSES, SIZE, kind)
    batches = [batch(offset=step / 50, absent=(3,) if step < 30 else ()) for step in range(60)]
    for features, labels in batches:
        statistics.update(features, labels)
    features, labels = joined(batches)
    count, mean, _ = two_pass_statistics(features, labels, CLASSES)
    assert torch.equal(statistics.count, count)
    assert relative_error(statistics.mean, mean) < 1e-5
    assert relative_error(statistics.covariance, expected_covariance(features, labels, CLASSES, kind)) < 1e-5


def test_accuracy_holds_over_thousands_of_batches():
    """Guards against float32 weights n / (n + m), whose rounding drifts over a whole training."""
    statistics = ClassCovariance(2, 3)
    batches = [(torch.randn(64, 3) * 0.5 + 4, torch.randint(0, 2, (64,))) for _ in range(4000)]
    for features, labels in batches:
        statistics.update(features, labels)
    features, labels = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    expected = expected_covariance(features, labels, 2, 'diagonal')
    assert relative_error(statistics.covariance, expected) < 1e-5


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared'])
@pytest.mark.parametrize('batches', [1, 4])
def test_variance_survives_a_mean_a_thousand_times_larger(kind, batches):
    """Guards against E[x^2] - E[x]^2, which gives negative variances here; cold (one batch) and warm."""
    statistics = ClassCovariance(CLASSES, SIZE, kind)
    centres = 1000 * (1 + torch.rand(CLASSES, SIZE, 1, 1))
    seen = []
    for _ in range(batches):
        labels = torch.randint(0, CLASSES, (2, 5, 7))
        own = centres[labels, :, 0, 0].permute(0, 3, 1, 2) if kind != 'shared' else torch.full((), 1000.0)
        seen.append((own + torch.randn(2, SIZE, 5, 7), labels))
        statistics.update(*seen[-1])
    expected = expected_covariance(*joined(seen), CLASSES, kind)
    assert relative_error(statistics.covariance, expected) < 1e-4
    diagonal = statistics.covariance if kind == 'diagonal' else statistics.covariance.diagonal(dim1=1, dim2=2)
    assert (diagonal >= 0).all()


@pytest.mark.parametrize('kind', KINDS)
def test_flat_and_spatial_features_agree(kind):
    spatial, flat = ClassCovariance(CLASSES, SIZE, kind), ClassCovariance(CLASSES, SIZE, kind)
    for _ in range(3):
        features, labels = batch()
        spatial.update(features, labels)
        flat.update(*rows(features, labels))
    assert torch.equal(spatial.count, flat.count)
    torch.testing.assert_close(spatial.mean, flat.mean)
    torch.testing.assert_close(spatial.covariance, flat.covariance)


def test_memory_layout_does_not_matter():
    """Guards against views that are right for contiguous features alone."""
    features, labels = batch()
    plain, last = ClassCovariance(CLASSES, SIZE), ClassCovariance(CLASSES, SIZE)
    plain.update(features, labels)
    last.update(features.to(memory_format=torch.channels_last), labels.to(torch.uint8))
    torch.testing.assert_close(plain.covariance, last.covariance)


def test_counts_are_exact_beyond_2_to_the_24():
    """Guards against float32 counts, which stop growing there: one more pixel must count."""
    statistics = ClassCovariance(2, 1)
    statistics.count[0] = 2**24
    for _ in range(3):
        statistics.update(torch.ones(1, 1), torch.tensor([0]))
    assert statistics.count.tolist() == [2**24 + 3, 0]


def test_an_absent_class_keeps_its_values_and_a_new_one_has_zero_covariance():
    statistics = ClassCovariance(CLASSES, SIZE)
    statistics.update(*batch())
    before = statistics.covariance.clone()
    statistics.update(*batch(absent=(1, 2)))
    assert torch.equal(statistics.covariance[[1, 2]], before[[1, 2]])
    assert not torch.equal(statistics.covariance[0], before[0])
    assert not ClassCovariance(CLASSES, SIZE).covariance.any()


def test_a_class_of_one_pixel_has_zero_covariance():
    statistics = ClassCovariance(2, 1)
    statistics.update(torch.tensor([[3.0], [5.0], [7.0]]), torch.tensor([0, 1, 1]))
    assert statistics.mean.flatten().tolist() == [3.0, 6.0]
    assert statistics.covariance.flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize('kind', KINDS)
def test_a_batch_of_ignored_pixels_changes_nothing(kind):
    statistics = ClassCovariance(CLASSES, SIZE, kind)
    statistics.update(*batch())
    before = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
    counts = statistics.update(torch.randn(2, SIZE, 3, 3), torch.full((2, 3, 3), 255))
    assert not counts.any()
    assert all(torch.equal(before[name], buffer) for name, buffer in statistics.state_dict().items())


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_change_nothing(kind, value):
    """Guards against one overflowed mixed-precision step, which would poison the rest of training."""
    statistics = ClassCovariance(CLASSES, SIZE, kind)
    statistics.update(*batch())
    before = {name: buffer.clone() for name, buffer in statistics.state_dict().items()}
    features, labels = batch()
    labels[0, 0, 0] = 0
    features[0, 1, 0, 0] = value
    statistics.update(features, labels)
    assert statistics.num_skipped == 1
    assert all(torch.equal(before[name], buffer) for name, buffer in statistics.state_dict().items())
    statistics.update(*batch())
    assert statistics.num_skipped == 1 and (statistics.count > before['count']).any()


def test_half_precision_features_and_autocast_do_not_cost_accuracy():
    features, labels = batch(offset=30.0)
    features = features.bfloat16()
    expected = expected_covariance(*rows(features, labels), CLASSES, 'diagonal')
    statistics = ClassCovariance(CLASSES, SIZE)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        statistics.update(features, labels)
    assert statistics.covariance.dtype == torch.float32
    assert relative_error(statistics.covariance, expected) < 1e-5


def test_many_features_are_cut_into_groups_without_a_seam():
    """Guards the groups of features that keep memory small: one of them wrong, or the last one lost."""
    features, labels = torch.randn(2, 70, 200, 90), torch.randint(0, 3, (2, 200, 90))
    statistics = ClassCovariance(3, 70)
    statistics.update(features, labels)
    flat = features.permute(0, 2, 3, 1).reshape(-1, 70)
    assert relative_error(statistics.covariance, expected_covariance(flat, labels.flatten(), 3, 'diagonal')) < 1e-5


@pytest.mark.parametrize('kind', KINDS)
def test_the_branch_of_accelerators_agrees(kind, monkeypatch):
    """There all classes are looked at, as to find those present would wait: an absent one must not become 0 / 0."""
    plain, other = ClassCovariance(CLASSES, SIZE, kind), ClassCovariance(CLASSES, SIZE, kind)
    batches = [batch(absent=(1,)), batch(absent=(0, 2))]
    for features, labels in batches:
        plain.update(features, labels)
    monkeypatch.setattr('mmseg_isda.core.devices.waits', lambda device: True)
    for features, labels in batches:
        other.update(features, labels)
    assert other.num_skipped == 0 and torch.equal(plain.count, other.count)
    torch.testing.assert_close(plain.covariance, other.covariance)


@pytest.mark.parametrize('cast', [torch.nn.Module.half, torch.nn.Module.bfloat16])
def test_a_network_in_half_precision_keeps_its_statistics_whole(cast):
    """Guards model.half(): sums over pixels pass 65,504, and a variance of three digits is lost on the way back."""
    statistics = ClassCovariance(CLASSES, SIZE)
    statistics.update(*batch())
    before = statistics.covariance.clone()
    cast(statistics)
    assert statistics.covariance.dtype == torch.float32 and torch.equal(statistics.covariance, before)
    assert statistics.double().covariance.dtype == torch.float64


def test_no_gradient_enters_the_statistics():
    features = torch.randn(4, SIZE, requires_grad=True)
    statistics = ClassCovariance(2, SIZE)
    statistics.update(features * 2, torch.tensor([0, 1, 0, 1]))
    assert not statistics.covariance.requires_grad and not statistics.mean.requires_grad


def test_update_returns_the_counts_of_the_batch():
    statistics = ClassCovariance(3, 1)
    for _ in range(2):
        counts = statistics.update(torch.zeros(4, 1), torch.tensor([0, 0, 2, 255]))
    assert counts.tolist() == [2, 0, 1] and statistics.count.tolist() == [4, 0, 2]


@pytest.mark.parametrize('label', [5, 254, -1])
def test_a_label_out_of_range_is_named_and_changes_nothing(label):
    statistics = ClassCovariance(CLASSES, SIZE)
    features, labels = batch()
    labels[0, 0, 0] = label
    with pytest.raises(ValueError, match=rf'value {label}, .*\[0, 5\).*ignore_index=255'):
        statistics.update(features, labels)
    assert not statistics.count.any()


def test_a_checkpoint_brings_the_statistics_back():
    statistics, other = ClassCovariance(CLASSES, SIZE), ClassCovariance(CLASSES, SIZE)
    statistics.update(*batch())
    other.load_state_dict(statistics.state_dict())
    features, labels = batch()
    statistics.update(features, labels)
    other.update(features, labels)
    assert torch.equal(statistics.covariance, other.covariance) and torch.equal(statistics.count, other.count)


def test_statistics_of_another_shape_are_refused_with_both_shapes():
    """MMEngine only warns of a mismatch and goes on: the statistics must refuse by themselves."""
    state = ClassCovariance(7, SIZE).state_dict()
    with pytest.raises(ValueError, match=r'\(7,\).*\(5,\)'):
        ClassCovariance(CLASSES, SIZE).load_state_dict(state, strict=False)
    state = ClassCovariance(CLASSES, SIZE, 'full').state_dict()
    with pytest.raises(ValueError, match=r'\(5, 6, 6\).*\(5, 6\) for covariance=.diagonal.*mmseg-isda publish'):
        ClassCovariance(CLASSES, SIZE).load_state_dict(state, strict=False)


@pytest.mark.parametrize('missing', ['count', 'mean', 'covariance'])
def test_half_of_the_statistics_are_refused(missing):
    """Guards a resume with counts but no means, which would go on with nonsense."""
    state = ClassCovariance(CLASSES, SIZE).state_dict()
    del state[missing]
    with pytest.raises(ValueError, match=f'has ISDA statistics but no {missing}'):
        ClassCovariance(CLASSES, SIZE).load_state_dict(state, strict=False)


@pytest.mark.parametrize('name', ['mean', 'covariance'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_statistics_that_are_not_finite_are_refused(name, value):
    """Guards a resume in which every later loss would be NaN."""
    state = ClassCovariance(CLASSES, SIZE).state_dict()
    state[name][1, 2] = value
    with pytest.raises(ValueError, match=f'{name} with NaN, infinity'):
        ClassCovariance(CLASSES, SIZE).load_state_dict(state)


@pytest.mark.parametrize('name', ['count', 'covariance'])
def test_statistics_below_zero_are_refused(name):
    """Guards a resume with counts that turn the running mean around, or a shift that favours the wrong class."""
    state = {key: value.clone() for key, value in ClassCovariance(2, 3).state_dict().items()}
    state[name][0] = -1
    with pytest.raises(ValueError, match=f'{name} with NaN, infinity or a number below zero'):
        ClassCovariance(2, 3).load_state_dict(state)


def test_counts_that_are_no_integers_are_refused():
    state = {**ClassCovariance(2, 3).state_dict(), 'count': torch.tensor([0.5, 1e30])}
    with pytest.raises(ValueError, match='count as torch.float32, not torch.int64'):
        ClassCovariance(2, 3).load_state_dict(state)


def test_statistics_saved_in_half_precision_go_on_in_float32():
    """Guards ``assign=True``, which takes the type of the checkpoint."""
    statistics = ClassCovariance(2, 3)
    state = {
        key: value.half() if value.is_floating_point() else value for key, value in statistics.state_dict().items()
    }
    statistics.load_state_dict(state, assign=True)
    assert statistics.mean.dtype == statistics.covariance.dtype == torch.float32


@pytest.mark.parametrize('kind', [*KINDS, 'low_rank'])
def test_finite_features_whose_statistics_overflow_are_left_out(kind, device):
    """Guards two batches at 9.3e18 and -9.3e18: the square of the step between their means is infinite."""
    statistics = new_statistics(kind, 2, 3).to(device)
    labels = torch.tensor([0, 0, 1, 1], device=device)
    for scale in (1.0, 9.3e18, -9.3e18, 1.0):
        statistics.update(scale + torch.randn(4, 3, device=device), labels)
    assert all(buffer.isfinite().all() for buffer in statistics.buffers())
    assert statistics.shift(torch.randn(2, 3, device=device), 7.5).isfinite().all()
    if kind != 'identity':
        assert statistics.num_skipped > 0
    assert statistics.count.sum() == 4 * (4 - statistics.num_skipped)


def test_a_plain_checkpoint_loads_with_a_warning():
    with pytest.warns(UserWarning, match='no ISDA statistics'):
        ClassCovariance(CLASSES, SIZE).load_state_dict({})


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((1, 4), 'num_classes must be at least 2'),
        ((3, 0), 'num_features must be at least 1'),
        ((3, 4, 'diag'), "kind must be one of 'diagonal', 'full', 'shared', 'identity', got 'diag'"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassCovariance(*arguments)


def test_wrong_shapes_are_named():
    statistics = ClassCovariance(CLASSES, SIZE)
    with pytest.raises(ValueError, match=r'features must have shape .*6.* got \(4, 5\)'):
        statistics.update(torch.zeros(4, 5), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r'labels must have shape \(2, 3, 3\).* got \(2, 3\)'):
        statistics.update(torch.zeros(2, SIZE, 3, 3), torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(TypeError, match='labels must be integers'):
        statistics.update(torch.zeros(4, SIZE), torch.zeros(4))
