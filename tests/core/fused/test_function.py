"""The fused loss against float64 autograd of the plain expression, and what its own autograd could get wrong."""

import itertools

import pytest
import torch

from mmseg_isda.core.fused import bands, fused_cross_entropy, should_fuse
from tests.core.fused.cases import IGNORE, check, gradients, make_case, reference, worst_error
from tests.reference import eq7_logits

REDUCTIONS = [
    {'reduction': 'none'},
    {'reduction': 'sum'},
    {'reduction': 'mean'},
    {'reduction': 'mean', 'avg_non_ignore': True},
    {'reduction': 'mean', 'avg_factor': 37.5},
    {'reduction': 'mean', 'avg_factor': torch.tensor(37.5)},
    {'reduction': 'none', 'avg_factor': 37.5},
]
OPTIONS = [
    {'augment_at': at, 'align_corners': corners, **reduction}
    for at, corners, reduction in itertools.product(('feature', 'label'), (False, True), REDUCTIONS)
]


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 2e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_every_combination_of_options_equals_float64_autograd(options, dtype, tolerance):
    """Guards the whole contract: placement, alignment, both weights, reduction and averaging factor together."""
    case, weights = make_case(dtype=dtype)
    for names in ((), ('weight',), ('class_weight',), ('weight', 'class_weight')):
        check(case, tolerance, band_bytes=3000, **options, **{name: weights[name] for name in names})
    check({**case, 'shift': None}, tolerance, **options)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    """Guards against a softmax in half precision; the result rounds once, in the gradient's own type."""
    case, _ = make_case(dtype=torch.float32)
    case['logits'] = case['logits'].detach().to(dtype).requires_grad_()
    loss = fused_cross_entropy(**case, align_corners=False)
    expected = reference(**case, align_corners=False)
    assert loss.dtype == torch.float32
    assert worst_error(loss, expected) <= 1e-6
    (grad, shift_grad), (truth, shift_truth) = gradients(loss, case), gradients(expected, case)
    assert grad.dtype == dtype
    assert worst_error(grad, truth) <= torch.finfo(dtype).eps
    assert worst_error(shift_grad, shift_truth) <= 1e-6


def test_gradient_scaling_saves_half_precision_gradients():
    """Guards GradScaler: a gradient below the smallest float16 must be scaled before it is rounded."""
    case, _ = make_case(dtype=torch.float32)
    case['logits'] = case['logits'].detach().half().requires_grad_()
    options = {'align_corners': False, 'avg_factor': 1e9}
    (scaled,) = torch.autograd.grad(fused_cross_entropy(**case, **options) * 2.0**28, case['logits'])
    (truth,) = torch.autograd.grad(reference(**case, **options) * 2.0**28, case['logits'])
    assert worst_error(scaled, truth) <= 1e-3


def test_autocast_changes_nothing():
    """Guards the matrix products inside: in bfloat16 they would spoil the gradient by 4e-3."""
    case, weights = make_case(dtype=torch.float32)
    for options in ({'augment_at': 'feature'}, {'augment_at': 'label'}, {'reduction': 'none'}):
        plain = fused_cross_entropy(**case, align_corners=True, **weights, **options)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            loss = fused_cross_entropy(**case, align_corners=True, **weights, **options)
            inside = gradients(loss, case)
        assert torch.equal(loss, plain)
        for a, b in zip(inside, gradients(plain, case), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_gradcheck(reduction, augment_at):
    """Guards the hand-written backward against finite differences, undefined gradients included."""
    case, weights = make_case(images=1, classes=3, low=(2, 3), high=(5, 6))

    def loss(logits, shift):
        return fused_cross_entropy(
            logits, case['labels'], shift, align_corners=False, augment_at=augment_at, reduction=reduction, **weights
        )

    assert torch.autograd.gradcheck(loss, (case['logits'], case['shift']))


@pytest.mark.parametrize('reduction', ['mean', 'none'])
def test_retained_graph_gives_the_same_gradient_again(reduction):
    """Guards against a backward that scales its stored gradient in place."""
    case, _ = make_case()
    loss = fused_cross_entropy(**case, align_corners=True, reduction=reduction).sum() * 3
    inputs = [case['logits'], case['shift']]
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    second = torch.autograd.grad(loss, inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_gradients_accumulate():
    """Guards against a gradient that shares memory with what autograd keeps: two losses add up."""
    case, _ = make_case()
    for _ in range(2):
        fused_cross_entropy(**case, align_corners=True).backward()
    truth = torch.autograd.grad(reference(**case, align_corners=True), [case['logits'], case['shift']])
    assert worst_error(case['logits'].grad, 2 * truth[0]) <= 2e-14
    assert worst_error(case['shift'].grad, 2 * truth[1]) <= 2e-14


@pytest.mark.parametrize('frozen', ['logits', 'shift'])
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_one_input_without_gradient(frozen, augment_at):
    """Guards the order of gradients when only one of the two is wanted."""
    case, _ = make_case()
    wanted = 'shift' if frozen == 'logits' else 'logits'
    case[frozen] = case[frozen].detach()
    for reduction in ('mean', 'none'):
        options = {'align_corners': True, 'augment_at': augment_at, 'reduction': reduction}
        (grad,) = torch.autograd.grad(fused_cross_entropy(**case, **options).sum(), case[wanted])
        (truth,) = torch.autograd.grad(reference(**case, **options).sum(), case[wanted])
        assert worst_error(grad, truth) <= 2e-14


def test_no_gradient_is_made_where_none_is_wanted(monkeypatch):
    """Guards evaluation: under no_grad the pass must not pay for gradients."""
    made = []
    run = bands.BandedPass.run
    monkeypatch.setattr(bands.BandedPass, 'run', lambda self, *a: (made.append(self.wanted), run(self, *a))[1])
    case, _ = make_case()
    with torch.no_grad():
        loss = fused_cross_entropy(**case, align_corners=True)
    assert not loss.requires_grad
    assert not made[0].logits_grad and not made[0].shift_grad
    with torch.inference_mode():
        inside = fused_cross_entropy(**case, align_corners=True)
    assert float(inside) == float(loss)
    check(case, 2e-14, align_corners=True)  # What inference mode has left in the cache must serve training.


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('reduction', ['mean', 'none'])
def test_second_derivatives_are_right(reduction, augment_at):
    """Guards meta-learning: the pass's own gradient is a constant to autograd, so create_graph=True once lied."""
    case, weights = make_case(low=(3, 4), high=(7, 9))
    options = dict(align_corners=True, augment_at=augment_at, reduction=reduction)
    inputs = [case['logits'], case['shift']]
    results = []
    for function in (fused_cross_entropy, reference):
        value = function(**case, **weights, **options).square().sum()
        first = torch.autograd.grad(value, inputs, create_graph=True)
        results.append([*first, *torch.autograd.grad(sum(grad.square().sum() for grad in first), inputs)])
    for got, expected in zip(*results, strict=True):
        assert worst_error(got, expected) < 1e-12


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('names', [(), ('weight',), ('class_weight',), ('weight', 'class_weight')])
@pytest.mark.parametrize('reduction', ['sum', 'none'])
def test_label_smoothing_is_that_of_pytorch(reduction, names, augment_at):
    """Guards the uniform part of the target: its share, its class weights and what ignored pixels get."""
    case, weights = make_case()
    options = dict(augment_at=augment_at, align_corners=False)
    chosen = {name: weights[name] for name in names}
    got = fused_cross_entropy(**case, **options, **chosen, reduction=reduction, label_smoothing=0.3, band_bytes=3000)
    logits = eq7_logits(case['logits'], case['labels'], case['shift'], **options, ignore_index=IGNORE)
    smooth = dict(reduction='none', ignore_index=IGNORE, label_smoothing=0.3)
    expected = torch.nn.functional.cross_entropy(logits, case['labels'], chosen.get('class_weight'), **smooth)
    expected = expected * chosen.get('weight', 1)
    expected = expected.sum() if reduction == 'sum' else expected
    assert worst_error(got, expected) < 1e-13
    for grad, truth in zip(gradients(got, case), gradients(expected, case), strict=True):
        assert worst_error(grad, truth) < 1e-13


@pytest.mark.parametrize('reduction', [{'avg_non_ignore': True}, {}, {'reduction': 'none'}, {'reduction': 'sum'}])
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_all_pixels_ignored(reduction, augment_at):
    """Guards 0 / 0: the loss is zero and so are all gradients, with and without class weights."""
    case, weights = make_case()
    case['labels'] = torch.full_like(case['labels'], IGNORE)
    for extra in ({}, weights):
        loss, accuracy = fused_cross_entropy(
            **case, align_corners=True, augment_at=augment_at, return_accuracy=True, **reduction, **extra
        )
        assert not loss.any() and torch.isfinite(accuracy)
        assert not any(grad.any() for grad in gradients(loss, case))


@pytest.mark.parametrize('ignore_index', [-100, 0, 3])
def test_ignore_index_may_be_negative_or_a_class(ignore_index):
    """Guards against taking only 255 for ignored: a class that is ignored has no loss, no shift and no weight."""
    case, weights = make_case()
    case['labels'] = case['labels'].masked_fill(case['labels'] == IGNORE, ignore_index)
    case['shift'] = case['shift'].detach().index_fill(0, torch.tensor([max(ignore_index, 0)]), 0).requires_grad_()
    options = {'align_corners': True, 'ignore_index': ignore_index, **weights}
    loss, expected = fused_cross_entropy(**case, **options), reference(**case, **options)
    assert worst_error(loss, expected) <= 2e-14
    assert worst_error(gradients(loss, case)[0], gradients(expected, case)[0]) <= 2e-14


def test_memory_layout_does_not_matter():
    """Guards views and strides: transposed, sliced, expanded and channels-last inputs, labels of other types."""
    case, weights = make_case()
    expected = fused_cross_entropy(**case, align_corners=True, augment_at='label', **weights)
    truth = gradients(expected, case)
    odd = {
        'logits': case['logits'].detach().clone(memory_format=torch.channels_last).requires_grad_(),
        'labels': torch.stack([case['labels'], case['labels']], -1)[..., 0],
        'shift': case['shift'].detach().t().contiguous().t().requires_grad_(),
    }
    odd_weights = {
        'weight': weights['weight'].transpose(1, 2).contiguous().transpose(1, 2),
        'class_weight': weights['class_weight'].tolist(),
    }
    for labels in (odd['labels'], odd['labels'].int(), odd['labels'].to(torch.uint8)):
        odd['labels'] = labels
        loss = fused_cross_entropy(**odd, align_corners=True, augment_at='label', **odd_weights)
        assert worst_error(loss, expected) <= 2e-14
        for grad, other in zip(gradients(loss, odd), truth, strict=True):
            assert worst_error(grad, other) <= 2e-14


def test_inputs_are_left_as_they_are():
    """Guards the in-place work on bands: where nothing is converted it must not write into the caller's tensors."""
    case, weights = make_case(low=(6, 6), high=(6, 6), images=1)
    tensors = [*case.values(), *weights.values()]
    before = [tensor.detach().clone() for tensor in tensors]
    for augment_at, reduction in itertools.product(('feature', 'label'), ('mean', 'none')):
        loss = fused_cross_entropy(**case, align_corners=True, augment_at=augment_at, reduction=reduction, **weights)
        loss.sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('with_shift', [True, False])
def test_accuracy_is_that_of_the_plain_logits(with_shift, augment_at):
    """Guards against an accuracy of shifted logits, which would make ISDA look worse than it is."""
    case, weights = make_case()
    shift = (case['shift'].detach() * 5) if with_shift else None
    logits, labels = case['logits'], case['labels']
    for reduction in ('mean', 'none'):
        loss, accuracy = fused_cross_entropy(
            logits,
            labels,
            shift,
            align_corners=True,
            augment_at=augment_at,
            return_accuracy=True,
            reduction=reduction,
            band_bytes=3000,
            **weights,
        )
        up = eq7_logits(logits, labels, None, augment_at=augment_at, align_corners=True)
        valid = labels != IGNORE
        expected = (up.argmax(1) == labels)[valid].double().mean() * 100
        assert float(accuracy) == pytest.approx(float(expected), rel=1e-5)
        alone = fused_cross_entropy(
            logits, labels, shift, align_corners=True, augment_at=augment_at, reduction=reduction, **weights
        )
        assert worst_error(loss, alone) <= 2e-14
        assert not accuracy.requires_grad


def test_no_images():
    """Guards an empty batch, as the last one of a rank may be."""
    case, _ = make_case()
    empty = {'logits': case['logits'][:0], 'labels': case['labels'][:0], 'shift': case['shift']}
    loss = fused_cross_entropy(**empty, align_corners=True)
    loss.backward()
    assert not loss.any() and not case['shift'].grad.any()


@pytest.mark.parametrize('reduction', ['mean', 'none'])
def test_compiles_as_one_graph(reduction):
    """Guards torch.compile: no break of the graph in forward, and the same gradients."""
    case, weights = make_case(dtype=torch.float32)

    def step(logits, labels, shift, weight):
        return fused_cross_entropy(
            logits * 2, labels, shift, weight=weight, align_corners=True, augment_at='label', reduction=reduction
        ).sum()

    inputs = (case['logits'], case['labels'], case['shift'], weights['weight'])
    expected = gradients(step(*inputs), case)
    torch._dynamo.reset()
    compiled = torch.compile(step, backend='aot_eager', fullgraph=True)
    for _ in range(2):
        loss = compiled(*inputs)
        assert torch.equal(loss, step(*inputs))
        for grad, truth in zip(gradients(loss, case), expected, strict=True):
            assert worst_error(grad, truth) <= 1e-6


def test_operator_is_registered_as_pytorch_demands():
    """Guards schema, aliasing and the shapes that torch.compile is told."""
    case, weights = make_case()
    tensors = [case['logits'], case['labels'], case['shift'], weights['weight'], weights['class_weight']]
    tensors = [tensor.detach() for tensor in tensors]
    operator = torch.ops.mmseg_isda.fused_cross_entropy
    for flags in ((False, True, True, True), (True, False, False, False), (False, False, True, False)):
        torch.library.opcheck(operator, (*tensors, True, True, IGNORE, 5000, False, *flags))


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'augment_at': 'pixel'}, ValueError, "augment_at.*'pixel'"),
        ({'label_smoothing': 1}, ValueError, r'label_smoothing must lie in \[0, 1\), got 1'),
        ({'reduction': 'avg'}, ValueError, "reduction.*'avg'"),
        ({'reduction': 'sum', 'avg_factor': 1.0}, ValueError, 'avg_factor'),
        ({'band_bytes': 0}, ValueError, 'band_bytes'),
        ({'logits': torch.zeros(2, 5, 4, dtype=torch.float32)}, ValueError, 'logits must have shape'),
        ({'logits': torch.zeros(3, 5, 4, 5)}, ValueError, 'the same N'),
        ({'logits': torch.zeros(2, 5, 0, 5)}, ValueError, 'must not be empty'),
        ({'logits': torch.zeros(2, 5, 4, 5, dtype=torch.long)}, TypeError, 'int64'),
        ({'labels': torch.zeros(2, 17, 23)}, TypeError, r'labels\.long\(\)'),
        ({'shift': torch.zeros(4, 4)}, ValueError, r'\(5, 5\), got \(4, 4\)'),
        ({'shift': torch.zeros(5, 5, dtype=torch.long)}, TypeError, 'shift'),
        ({'weight': torch.zeros(2, 17)}, ValueError, 'weight'),
        ({'weight': torch.zeros(2, 17, 23, requires_grad=True)}, ValueError, r'weight\.detach\(\)'),
        ({'class_weight': [1.0, 2.0]}, ValueError, r'class_weight.*\(5,\), got \(2,\)'),
        ({'class_weight': torch.zeros(5, dtype=torch.float64, requires_grad=True)}, ValueError, 'detach'),
        ({'shift': torch.zeros(5, 5, device='meta')}, ValueError, 'device'),
    ],
    ids=str,
)
def test_wrong_use_is_named(change, error, message):
    """Guards the messages: the argument, what it should be, and what came."""
    case, _ = make_case()
    with pytest.raises(error, match=message):
        fused_cross_entropy(**{**case, 'align_corners': True, **change})


@pytest.mark.parametrize('label', [-1, 5, 254])
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_bad_label_is_named(label, augment_at):
    """Guards against reading a neighbour's logit, or a row that is not there, for a label out of range."""
    case, _ = make_case()
    case['labels'][1, 9, 11] = label
    for shift in (None, case['shift']):
        with pytest.raises(ValueError, match=f'value {label}'):
            fused_cross_entropy(case['logits'], case['labels'], shift, align_corners=True, augment_at=augment_at)


@pytest.mark.parametrize(
    ('logits', 'labels', 'expected'),
    [
        ((2, 19, 97, 97), (2, 769, 769), True),
        ((2, 150, 64, 64), (2, 512, 512), True),
        ((2, 3, 97, 97), (2, 769, 769), False),
        ((2, 19, 512, 512), (2, 512, 512), False),
        ((1, 19, 4, 4), (1, 32, 32), False),
    ],
)
def test_should_fuse(logits, labels, expected):
    """Guards the sizes that the plain way is better at."""
    assert should_fuse(torch.empty(logits, device='meta'), torch.empty(labels, device='meta')) is expected
