import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmseg_isda.core import (
    ClassCovariance,
    LowRankCovariance,
    add_shift,
    isda_cross_entropy,
    logit_shift,
    shift_of_vectors,
    shift_table,
)
from mmseg_isda.core import shift as shift_module
from tests.reference import as_matrices, table


def covariance_of(kind, classes=5, size=4, dtype=torch.float64):
    shape = {
        'diagonal': (classes, size),
        'full': (classes, size, size),
        'shared': (1, size, size),
        'identity': (1, size),
    }
    values = torch.rand(shape[kind], dtype=dtype)
    if kind == 'identity':
        return torch.ones_like(values)
    return values @ values.transpose(1, 2) if values.dim() == 3 else values


KINDS = ['diagonal', 'full', 'shared', 'identity']


@pytest.mark.parametrize('kind', KINDS)
def test_table_equals_the_equation_entry_by_entry(kind):
    """Guards Eq. 7: rows and columns swapped, a missing half, or Sigma of the wrong class."""
    weight, covariance = torch.randn(5, 4, dtype=torch.float64), covariance_of(kind)
    expected = table(weight, as_matrices(covariance, 5), 3.0)
    torch.testing.assert_close(logit_shift(weight, covariance, 3.0), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('classes', 'size'), [(5, 4), (3, 4)])
@pytest.mark.parametrize('kind', KINDS)
def test_gradcheck_of_the_weight(kind, classes, size):
    """With fewer features than classes the full matrices are kept for the backward pass, else their products."""
    weight = torch.randn(classes, size, dtype=torch.float64, requires_grad=True)
    covariance = covariance_of(kind, classes, size)
    assert gradcheck(lambda w: logit_shift(w, covariance, 2.0), weight)


@pytest.mark.parametrize('kind', KINDS)
def test_rows_of_some_classes_are_those_of_the_whole_table(kind):
    """Guards the rows that a batch with few classes asks for: their order, their zeros and their gradient."""
    weight = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    covariance, classes = covariance_of(kind), torch.tensor([4, 1])
    rows = logit_shift(weight, covariance, 2.0, classes=classes)
    expected = table(weight, as_matrices(covariance, 5), 2.0)[classes]
    torch.testing.assert_close(rows, expected, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(2, 5, dtype=torch.float64)
    got, truth = (torch.autograd.grad(x, weight, upstream)[0] for x in (rows, expected))
    torch.testing.assert_close(got, truth, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('at_once', [1, 1 << 27])
@pytest.mark.parametrize('kind', ['full', 'shared'])
def test_matrices_one_at_a_time_and_all_at_once(kind, at_once, monkeypatch):
    """Guards the batched products that accelerators take, which no CPU run reaches by itself."""
    monkeypatch.setitem(shift_module.BYTES_PER_PRODUCT, 'cpu', at_once)
    weight, covariance = torch.randn(5, 4, dtype=torch.float64), covariance_of(kind)
    expected = table(weight, as_matrices(covariance, 5), 3.0)
    torch.testing.assert_close(logit_shift(weight, covariance, 3.0), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('classes', 'size'), [(5, 4), (3, 4)])
@pytest.mark.parametrize('kind', KINDS)
def test_statistics_may_change_before_the_backward_pass(kind, classes, size):
    """Guards a second head's update between forward and backward: the running statistics change in place."""
    weight = torch.randn(classes, size, dtype=torch.float64, requires_grad=True)
    covariance = covariance_of(kind, classes, size)
    expected = torch.autograd.grad(logit_shift(weight, covariance, 2.0).square().sum(), weight)[0]
    shift = logit_shift(weight, covariance, 2.0)
    covariance.mul_(7)
    torch.testing.assert_close(torch.autograd.grad(shift.square().sum(), weight)[0], expected)


@pytest.mark.parametrize('kind', KINDS)
def test_the_covariance_gets_no_gradient(kind):
    covariance = covariance_of(kind).requires_grad_()
    logit_shift(torch.randn(5, 4, dtype=torch.float64, requires_grad=True), covariance, 1.0).sum().backward()
    assert covariance.grad is None


@pytest.mark.parametrize('kind', KINDS)
def test_the_label_s_own_logit_is_never_shifted(kind):
    shift = logit_shift(torch.randn(5, 4) + 100, covariance_of(kind, dtype=torch.float32), 5.0)
    assert (shift.diagonal() == 0).all()


@pytest.mark.parametrize('kind', KINDS)
def test_a_common_offset_of_the_weights_cancels(kind):
    """Guards the accuracy in float32: uncentred, the error at this offset is a thousand times larger."""
    weight, covariance = torch.randn(5, 4, dtype=torch.float64) + 100, covariance_of(kind)
    expected = table(weight, as_matrices(covariance, 5), 1.0)
    got = logit_shift(weight.float(), covariance.float(), 1.0).double()
    assert (got - expected).norm() / expected.norm() < 2e-5


@pytest.mark.parametrize('kind', KINDS)
def test_statistics_may_move_on_before_the_backward_pass(kind):
    """Guards a second forward pass before backward, whose in-place update once broke the graph."""
    covariance = covariance_of(kind)
    weight = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(logit_shift(weight, covariance.clone(), 1.0).square().sum(), weight)
    loss = logit_shift(weight, covariance, 1.0).square().sum()
    covariance.mul_(7)
    (got,) = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(got, expected)


def test_autocast_does_not_reach_the_table():
    weight, variance = torch.randn(5, 64), torch.rand(5, 64)
    expected = logit_shift(weight, variance, 1.0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(logit_shift(weight, variance, 1.0), expected)


def test_a_half_precision_weight_gets_a_float32_table_and_a_half_precision_gradient():
    weight = torch.randn(5, 4, dtype=torch.bfloat16, requires_grad=True)
    shift = logit_shift(weight, torch.rand(5, 4), 1.0)
    shift.sum().backward()
    assert shift.dtype == torch.float32 and weight.grad.dtype == torch.bfloat16


def test_zero_covariance_gives_no_shift():
    """A class that has not been seen is not augmented."""
    assert not logit_shift(torch.randn(3, 4), torch.zeros(3, 4), 7.5).any()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r'covariance must have shape \(3, 4\).* got \(2, 4\)'):
        logit_shift(torch.zeros(3, 4), torch.zeros(2, 4), 1.0)
    with pytest.raises(ValueError, match=r'weight must have shape \(C, A\)'):
        logit_shift(torch.zeros(3, 4, 1, 1), torch.zeros(3, 4), 1.0)
    with pytest.raises(ValueError, match=r'strength .* must be 0 or more, got -1'):
        logit_shift(torch.zeros(3, 4), torch.zeros(3, 4), -1)


@pytest.mark.parametrize('spatial', [(), (6,), (3, 4)])
def test_add_shift_looks_up_each_position(spatial):
    labels = torch.randint(0, 3, (2, *spatial))
    labels.view(2, -1)[0, 0] = 255
    logits, shift = torch.randn(2, 3, *spatial), torch.randn(3, 3)
    got = add_shift(logits, labels, shift)
    rows = torch.cat([shift, torch.zeros(1, 3)])[labels.masked_fill(labels == 255, 3)]
    torch.testing.assert_close(got, logits + rows.movedim(-1, 1))


def test_add_shift_gradcheck():
    labels = torch.randint(0, 4, (2, 3, 3))
    labels[0, 0] = 255
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda z, s: add_shift(z, labels, s), (logits, shift))
    assert gradcheck(lambda s: add_shift(None, labels, s), shift)


def test_add_shift_leaves_the_logits_as_they_are():
    logits = torch.randn(1, 2, 2, 2)
    before = logits.clone()
    add_shift(logits, torch.zeros(1, 2, 2, dtype=torch.long), torch.ones(2, 2))
    assert torch.equal(logits, before)


@pytest.mark.parametrize(('classes', 'size'), [(4, 3), (3, 4)])
@pytest.mark.parametrize('kind', KINDS)
def test_second_derivatives_of_the_table(kind, classes, size):
    """Guards meta-learning (create_graph=True): a backward pass that is a constant to autograd is wrong in silence."""
    weight = torch.randn(classes, size, dtype=torch.float64, requires_grad=True)
    covariance = covariance_of(kind, classes, size)
    assert gradgradcheck(lambda w: logit_shift(w, covariance, 2.0), weight)


def test_second_derivatives_of_changed_matrices_are_refused():
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    covariance = covariance_of('full', 3, 4)
    shift = logit_shift(weight, covariance, 2.0)
    covariance.mul_(2)
    with pytest.raises(RuntimeError, match='full covariances were updated'):
        torch.autograd.grad(shift.sum(), weight, create_graph=True)


def test_second_derivatives_of_the_look_up():
    labels = torch.randint(0, 3, (2, 2, 3))
    labels[0, 0] = 255
    logits = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda z, s: add_shift(z, labels, s).exp(), (logits, shift))


@pytest.fixture(params=[*KINDS, 'low_rank'])
def statistics(request, device):
    kind = request.param
    made = LowRankCovariance(5, 4, 2) if kind == 'low_rank' else ClassCovariance(5, 4, kind)
    made.to(device).update(torch.randn(60, 4, device=device), torch.randint(0, 5, (60,), device=device))
    return made


def test_every_kind_of_statistics_makes_its_own_table(statistics, device):
    weight = torch.randn(5, 4, device=device)
    expected = table(weight.double(), statistics.matrices().double(), 2.0)
    torch.testing.assert_close(statistics.shift(weight, 2.0).double(), expected, rtol=1e-4, atol=1e-5)
    classes = torch.tensor([3, 0], device=device)
    torch.testing.assert_close(statistics.shift(weight, 2.0, classes).double(), expected[classes], rtol=1e-4, atol=1e-5)


def test_the_products_of_equation_15(statistics, device):
    """W Sigma_y W' up to the common offset of W, which the differences of Eq. 15 do not see."""
    weight = torch.randn(5, 4, device=device, requires_grad=True)
    classes = torch.tensor([4, 1], device=device)
    gram = statistics.gram(weight, classes)
    squares = gram.diagonal(dim1=1, dim2=2)
    form = squares.unsqueeze(1) + squares.unsqueeze(2) - 2 * gram
    differences = weight.unsqueeze(0) - weight.unsqueeze(1)
    expected = torch.einsum('kja,yab,kjb->ykj', differences, statistics.matrices(classes), differences)
    torch.testing.assert_close(form, expected, rtol=1e-4, atol=1e-4)
    got, truth = (torch.autograd.grad(x.square().sum(), weight, retain_graph=True)[0] for x in (form, expected))
    torch.testing.assert_close(got, truth, rtol=1e-3, atol=1e-3)


def test_the_table_of_an_iteration_has_the_rows_that_are_looked_up(statistics, device):
    weight, labels = torch.randn(5, 4, device=device), torch.tensor([3, 3, 0, 255, -100], device=device)
    whole = statistics.shift(weight, 1.0)
    count = torch.tensor([1, 0, 0, 2, 0], device=device)
    for looked_up in (dict(labels=labels), dict(count=count)):
        torch.testing.assert_close(shift_table(statistics, weight, 1.0, **looked_up)[[0, 3]], whole[[0, 3]])


@pytest.mark.parametrize('number', [3, 9])
def test_the_shift_of_vectors(statistics, device, number):
    """Fewer and more vectors than classes, which take different ways on an accelerator."""
    weight = torch.randn(5, 4, device=device)
    labels = torch.tensor([2, 0, -100, 2, 1, 4, 4, 0, 3], device=device)[:number]
    added = shift_of_vectors(statistics, weight, 1.5, labels, -100)
    expected = statistics.shift(weight, 1.5)[labels.clamp(min=0)] * (labels >= 0).unsqueeze(1)
    torch.testing.assert_close(added, expected)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_a_compiled_loss_keeps_its_gradients(augment_at):
    """Guards PyTorch 2.11, whose compiler once lost the gradient of the look-up in silence."""
    labels = torch.randint(0, 4, (2, 6, 6))
    labels[0, 0] = 255
    inputs = [torch.randn(2, 4, 6, 6, requires_grad=True), torch.rand(4, 4, requires_grad=True)]
    options = dict(augment_at=augment_at, feature_size=(3, 3))

    def loss(logits, shift):
        return isda_cross_entropy(logits, labels, shift, **options)

    expected = torch.autograd.grad(loss(*inputs), inputs)
    got = torch.autograd.grad(torch.compile(loss, backend='aot_eager')(*inputs), inputs)
    torch.testing.assert_close(got, expected)
