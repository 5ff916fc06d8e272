from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_isda.core import ISDACriterion, isda_cross_entropy, logit_shift, new_statistics
from mmseg_isda.core import consistency as module
from mmseg_isda.core.consistency import isda_consistency
from tests.reference import table

C, A = 5, 4
KINDS = ['diagonal', 'full', 'shared', 'identity', 'low_rank']
# Ways to the same sums: one product, logarithms, and classes that are computed again in the backward pass.
WAYS = {'product': {}, 'logarithms': {'PRODUCT_LIMITS': {torch.float64: 0.01}}, 'groups': {'TABLE_ELEMENTS': 1}}


class Matrices(NamedTuple):
    """Statistics that are nothing but their (C, A, A) matrices."""

    covariance: torch.Tensor

    def gram(self, weight, classes=None):
        matrices = self.covariance if classes is None else self.covariance[classes]
        weight = weight - weight.mean(0)
        return weight @ matrices.to(weight.dtype) @ weight.t()


@pytest.fixture
def matrices():
    root = torch.randn(C, A, A, dtype=torch.float64)
    return Matrices(root @ root.mT)


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    for name, value in WAYS[request.param].items():
        monkeypatch.setattr(module, name, value)


def draw(*spatial, number=17, dtype=torch.float64):
    logits = 2 * torch.randn(number, C, *spatial, dtype=dtype)
    targets = (2 * torch.randn(number, C, *spatial, dtype=dtype)).softmax(1)
    return logits, targets, torch.randn(C, A, dtype=dtype)


def slow_term(logits, targets, weight, matrices, strength):
    """Eq. 15 for each sample, target class and logit on its own, in float64; (N, *spatial)."""
    z, p = (x.double().movedim(1, -1).reshape(-1, x.shape[1]) for x in (logits, targets))
    weight, matrices = weight.double(), matrices.double()
    losses = []
    for z_i, p_i in zip(z, p, strict=True):
        sigma = matrices[p_i.argmax()]
        loss = 0
        for k, w_k in enumerate(weight):
            raised = torch.stack([z_i[j] + strength / 2 * (w - w_k) @ sigma @ (w - w_k) for j, w in enumerate(weight)])
            loss = loss - p_i[k] * raised.log_softmax(0)[k]
        losses.append(loss)
    return torch.stack(losses).view(logits.shape[0], *logits.shape[2:])


def filled(kind):
    """Statistics of a kind after a batch with correlated features, and their matrices."""
    statistics = new_statistics(kind, C, A, rank=2).double()
    statistics.update(
        torch.randn(60, A, dtype=torch.float64) @ torch.randn(A, A, dtype=torch.float64), torch.arange(60) % C
    )
    return statistics, statistics.matrices()


@pytest.mark.parametrize('spatial', [(), (3, 2)])
@pytest.mark.parametrize('kind', KINDS)
def test_term_equals_the_equation_for_each_kind_and_shape(kind, spatial):
    """Guards Eq. 15: Sigma of the wrong class, j and k swapped, pixels that are mixed up with channels."""
    (logits, targets, weight), (statistics, dense) = draw(*spatial), filled(kind)
    got = isda_consistency(logits, targets, weight, statistics, 1.5, reduction='none')
    torch.testing.assert_close(got, slow_term(logits, targets, weight, dense, 1.5), rtol=1e-10, atol=1e-10)


def test_derivatives_of_first_and_second_order(way, matrices):
    """Guards each way to the sums: a gradient that misses the table, a second derivative that is silently wrong."""
    logits, targets, weight = draw(number=7)
    inputs = logits.requires_grad_(), weight.requires_grad_()

    def term(logits, weight):
        return isda_consistency(logits, targets, weight, matrices, 0.7)

    expected = slow_term(*inputs[:1], targets, weight, matrices.covariance, 0.7).mean()
    torch.testing.assert_close(term(*inputs), expected)
    assert torch.autograd.gradcheck(term, inputs)
    assert torch.autograd.gradgradcheck(term, inputs)


def test_neither_targets_nor_statistics_get_a_gradient(matrices):
    """Guards p as a constant (section 5 of the paper) and Eq. 7's fixed Sigma."""
    logits, targets, weight = (x.requires_grad_() for x in draw())
    matrices.covariance.requires_grad_()
    isda_consistency(logits, targets, weight, Matrices(matrices.covariance.detach()), 1.0).backward()
    assert targets.grad is None and logits.grad.abs().sum() > 0 and weight.grad.abs().sum() > 0


def test_term_bounds_the_expected_divergence(matrices):
    """Guards the meaning of the term: Eq. 14 by Monte Carlo lies below it, and near it for a small lambda."""
    _, targets, weight = draw(number=4)
    features, strength = torch.randn(4, A, dtype=torch.float64), 0.01
    roots = torch.linalg.cholesky(matrices.covariance + 1e-12 * torch.eye(A))[targets.argmax(1)]
    noise = torch.randn(20_000, 4, A, 1, dtype=torch.float64)
    augmented = features + strength**0.5 * (roots @ noise).squeeze(3)
    sampled = -(targets * (augmented @ weight.t()).log_softmax(2)).sum(2)
    expected, error = sampled.mean(0), 4 * sampled.std(0) / len(noise) ** 0.5
    bound = isda_consistency(features @ weight.t(), targets, weight, matrices, strength, reduction='none')
    assert (expected - error <= bound).all()
    torch.testing.assert_close(bound, expected, rtol=0.1, atol=0.02)


def test_one_hot_targets_recover_eq_7():
    """Guards the tie to the supervised loss."""
    (logits, _, weight), (statistics, _) = draw(), filled('full')
    labels = torch.arange(len(logits)) % C
    got = isda_consistency(logits, F.one_hot(labels, C).double(), weight, statistics, 2.0)
    shift = logit_shift(weight, statistics.covariance, 2.0)
    expected = F.cross_entropy(logits + shift[labels], labels)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(got, isda_cross_entropy(logits, labels, shift), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('strength', [0.0, torch.tensor(0.0, dtype=torch.float64)])
def test_strength_of_zero_is_plain_cross_entropy(strength, matrices):
    """Guards the begin of training: at lambda 0 a prediction that is its own target has no gradient."""
    logits, targets, weight = draw()
    plain = isda_consistency(logits, targets, weight, matrices, strength)
    torch.testing.assert_close(plain, F.cross_entropy(logits, targets))
    logits.requires_grad_()
    isda_consistency(logits, logits.softmax(1), weight, matrices, strength).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-12)


@pytest.mark.parametrize('largest', [0.1, 1, 10, 50, 70, 500, 10_000])
def test_float32_is_exact_however_large_the_table(largest):
    """Guards against underflow of the matrix product, which would turn a large shift into an infinite loss."""
    logits, targets, weight = draw(dtype=torch.float32)
    logits = 8 * logits
    root = torch.randn(C, A, A)
    statistics = Matrices(root @ root.mT)
    strength = largest / max(float(table(weight, m.expand(C, A, A), 1.0).max()) for m in statistics.covariance)
    got = isda_consistency(logits, targets, weight, statistics, strength, reduction='none')
    expected = slow_term(logits, targets, weight, statistics.covariance, strength)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


class Largest(TorchDispatchMode):
    """Records the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.elements = max(self.elements, out.untyped_storage().nbytes() // out.element_size())
        return out


@pytest.mark.parametrize('number', [1000, 4000])
def test_no_tensor_of_samples_x_classes_x_classes(number):
    """Guards memory that is linear in the samples, whatever their spread over the classes."""
    classes = 40
    logits = torch.randn(number, classes, requires_grad=True)
    weight = torch.randn(classes, A, requires_grad=True)
    statistics = Matrices(torch.eye(A).expand(classes, A, A))
    targets = (torch.randn(number, classes) + 3 * F.one_hot(torch.tensor(3), classes)).softmax(1)
    with Largest() as largest:
        isda_consistency(logits, targets, weight, statistics, 0.1).backward()
    assert largest.elements <= 2 * (number * classes + classes**3)


def test_weights_and_reductions(matrices):
    """Guards a mean over the samples, masked ones included, and a mask that leaves nothing."""
    logits, targets, weight = draw(2, 2)
    mask = (torch.rand(17, 2, 2) > 0.5).double()
    arguments = logits, targets, weight, matrices, 1.0
    each = isda_consistency(*arguments, reduction='none')
    for reduction, expected in (('none', each * mask), ('sum', (each * mask).sum()), ('mean', (each * mask).mean())):
        torch.testing.assert_close(isda_consistency(*arguments, sample_weight=mask, reduction=reduction), expected)
    assert isda_consistency(*arguments, sample_weight=torch.zeros_like(mask)) == 0


def test_half_precision_logits_are_scored_in_float32(matrices):
    """Guards the table under autocast, where a product would run in bfloat16."""
    logits, targets, weight = draw(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = isda_consistency(logits.bfloat16(), targets, weight, matrices, 1.0, reduction='none')
    expected = slow_term(logits.bfloat16(), targets, weight, matrices.covariance, 1.0)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


def test_statistics_that_change_before_a_recomputation_raise(monkeypatch, matrices):
    """Guards the gradient where tables are made again in the backward pass: right, or an error."""
    monkeypatch.setattr(module, 'TABLE_ELEMENTS', 1)
    logits, targets, weight = draw()
    loss = isda_consistency(logits, targets, weight.requires_grad_(), matrices, 1.0)
    matrices.covariance.add_(1)
    with pytest.raises(RuntimeError, match='updated between isda_consistency and its backward pass'):
        loss.backward()


def test_empty_batch(matrices):
    """Guards a rank without unlabeled samples: a sum of zero that still has a graph."""
    logits, targets, weight = draw(number=0)
    loss = isda_consistency(logits.requires_grad_(), targets, weight, matrices, 1.0, reduction='sum')
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(targets=torch.rand(17, 3)), 'logits and targets must have one shape'),
        (dict(weight=torch.rand(3, 4)), r'weight must have shape \(5, A\)'),
        (dict(strength=-1.0), 'strength .lambda. must be 0 or more, got -1.0'),
        (dict(strength=float('nan')), 'strength .lambda. must be 0 or more, got nan'),
        (dict(sample_weight=torch.rand(3)), r'sample_weight must have shape \(17,\)'),
        (dict(reduction='average'), "reduction must be one of 'none', 'mean', 'sum', got 'average'"),
    ],
)
def test_wrong_arguments_are_named(change, message, matrices):
    logits, targets, weight = draw()
    arguments = dict(logits=logits, targets=targets, weight=weight, statistics=matrices, strength=1.0) | change
    with pytest.raises(ValueError, match=message):
        isda_consistency(**arguments)


def test_criterion_scores_unlabeled_samples_with_the_statistics_of_labeled_ones():
    """Guards against unlabeled features in the statistics, and a lambda other than that of the labeled loss."""
    network = torch.nn.Linear(A, C)
    criterion = ISDACriterion(network, lambda_0=2.0, covariance='full')
    criterion(network(torch.randn(20, A)), torch.arange(20) % C, progress=0.5)
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    logits = network(torch.randn(9, A))
    got = criterion.consistency(logits, logits.softmax(1), progress=0.5)
    expected = slow_term(logits, logits.softmax(1), network.weight, criterion.statistics.matrices(), 1.0).mean()
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in criterion.state_dict().items())
    with pytest.raises(ValueError, match='progress must be the share of training'):
        criterion.consistency(logits, logits.softmax(1))
    criterion.eval()
    with torch.no_grad():
        plain = criterion.consistency(logits, logits.softmax(1))
    torch.testing.assert_close(plain, F.cross_entropy(logits, logits.softmax(1)))
