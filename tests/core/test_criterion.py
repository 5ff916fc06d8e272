"""ISDA as one object: against the registered losses' functions, and as a training program uses it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from mmseg_isda.core import ISDACriterion
from tests.processes import run_ranks
from tests.reference import as_matrices, eq7_map, table

COVARIANCES = ('diagonal', 'full', 'low_rank', 'shared', 'identity')
CLASSES, FEATURES = 5, 6


def segmenter(device='cpu'):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, FEATURES, 3, stride=4, padding=1), nn.ReLU())
    return nn.ModuleDict(dict(body=body, classifier=nn.Conv2d(FEATURES, CLASSES, 1))).to(device)


def forward(network, images):
    return network['classifier'](network['body'](images))


@pytest.fixture
def scene(device):
    images = torch.randn(2, 3, 16, 24, device=device)
    labels = torch.randint(0, CLASSES, (2, 16, 24), device=device)
    labels[0, :5] = -100
    return images, labels


@pytest.mark.parametrize('covariance', COVARIANCES)
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('given', ['low', 'up'])
def test_maps_get_the_loss_of_equation_7(scene, covariance, augment_at, given, device):
    """Low-resolution logits that the criterion up-samples, and logits that are up-sampled already."""
    images, labels = scene
    network = segmenter(device)
    criterion = ISDACriterion(network['classifier'], 2.0, covariance=covariance, augment_at=augment_at, rank=2)
    low = forward(network, images)
    logits = low if given == 'low' else F.interpolate(low, size=labels.shape[1:], mode='bilinear')
    value = criterion(logits, labels, progress=0.75)
    matrices = criterion.statistics.matrices().double().cpu()
    weight = network['classifier'].weight.flatten(1).detach().double().cpu()
    slow = eq7_map(
        low.detach().double().cpu(),
        labels.cpu(),
        weight,
        matrices,
        1.5,
        augment_at=augment_at,
        align_corners=False,
        ignore_index=-100,
    )
    assert value.item() == pytest.approx((slow.sum() / (labels != -100).sum().cpu()).item(), rel=1e-5)
    value.backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize('covariance', COVARIANCES)
@pytest.mark.parametrize('options', [{}, dict(weight=torch.tensor([0.5, 1, 2, 1, 0.1])), dict(label_smoothing=0.2)])
def test_vectors_get_the_loss_of_equation_7(covariance, options, device):
    linear = nn.Linear(FEATURES, CLASSES).to(device)
    criterion = ISDACriterion(linear, 2.0, covariance=covariance, rank=2, **options).to(device)
    features = torch.randn(20, FEATURES, device=device, requires_grad=True)
    labels = torch.randint(0, CLASSES, (20,), device=device)
    labels[:3] = -100
    logits = linear(features)
    value = criterion(logits, labels, progress=1)
    shift = table(linear.weight.double(), as_matrices(criterion.statistics.matrices(), CLASSES), 2.0)
    rows = shift[labels.clamp(min=0)]
    weight = None if criterion.weight is None else criterion.weight.double()
    expected = F.cross_entropy(logits.double() + rows, labels, weight, label_smoothing=criterion.label_smoothing)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    wrt = [features, linear.weight, linear.bias]
    for got, truth in zip(
        torch.autograd.grad(value, wrt, retain_graph=True), torch.autograd.grad(expected, wrt), strict=True
    ):
        torch.testing.assert_close(got, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('weight', [None, torch.tensor([0.5, 1, 2, 1, 0.1])])
@pytest.mark.parametrize('shape', [(7,), (2, 6), (2, 8, 8)])
def test_lambda_0_of_zero_is_the_cross_entropy_of_pytorch(shape, weight, reduction):
    options = dict(reduction=reduction, weight=weight, label_smoothing=0.1)
    logits, labels = torch.randn(shape[0], CLASSES, *shape[1:]), torch.randint(0, CLASSES, shape)
    labels.view(-1)[:3] = -100
    criterion = ISDACriterion(nn.Linear(FEATURES, CLASSES), 0, **options)
    torch.testing.assert_close(criterion(logits, labels), nn.CrossEntropyLoss(**options)(logits, labels))


@pytest.mark.parametrize('layout', ['map', 'tokens'])
def test_a_channels_last_classifier_is_that_of_channels_first(layout):
    """SegFormer-like heads of other libraries end in nn.Linear over (N, H, W, A) or (N, H W, A)."""
    network, linear = segmenter(), nn.Linear(FEATURES, CLASSES)
    linear.load_state_dict(
        {k: v.flatten(1) if v.dim() > 2 else v for k, v in network['classifier'].state_dict().items()}
    )
    last = ISDACriterion(linear, 2.0)
    images, labels = torch.randn(2, 3, 16, 24), torch.randint(0, CLASSES, (2, 16, 24))
    first = ISDACriterion(network['classifier'], 2.0)
    expected = first(forward(network, images), labels, progress=1)
    features = network['body'](images).movedim(1, -1)
    out = linear(features if layout == 'map' else features.flatten(1, 2)).view(2, 4, 6, CLASSES).movedim(-1, 1)
    torch.testing.assert_close(last(out, labels, progress=1), expected)
    torch.testing.assert_close(last.statistics.covariance, first.statistics.covariance)


@pytest.mark.parametrize('upsample', [False, True])
@pytest.mark.parametrize(
    'arrange',
    [
        lambda out: out.transpose(1, 2).reshape(2, CLASSES, 4, 6),
        lambda out: out.permute(0, 2, 1).contiguous().view(2, CLASSES, 4, 6),
        lambda out: out.mT.unflatten(2, (4, 6)),
        lambda out: out.reshape(2, 4, 6, CLASSES).permute(0, 3, 1, 2),
    ],
)
def test_tokens_at_the_size_of_the_labels(arrange, upsample):
    """They ended in an unpacking error, or were refused as logits that had been changed."""
    network, linear = segmenter(), nn.Linear(FEATURES, CLASSES)
    linear.load_state_dict(
        {k: v.flatten(1) if v.dim() > 2 else v for k, v in network['classifier'].state_dict().items()}
    )
    size = (8, 12) if upsample else (4, 6)
    images, labels = torch.randn(2, 3, 16, 24), torch.randint(0, CLASSES, (2, *size))
    resized = lambda logits: F.interpolate(logits, size=size, mode='bilinear') if upsample else logits  # noqa: E731
    expected = ISDACriterion(network['classifier'], 2.0)(resized(forward(network, images)), labels, progress=1)
    last = ISDACriterion(linear, 2.0)
    out = arrange(linear(network['body'](images).movedim(1, -1).flatten(1, 2)))
    torch.testing.assert_close(last(resized(out), labels, progress=1), expected)


@pytest.mark.parametrize('squeeze', [lambda z: z.squeeze((2, 3)), torch.squeeze, lambda z: z.reshape(2, CLASSES)])
def test_a_convolution_as_the_classifier_of_vectors(squeeze):
    network = segmenter()
    features, labels = torch.randn(2, FEATURES, 1, 1), torch.tensor([1, 4])
    loss = ISDACriterion(network['classifier'], 2.0)(squeeze(network['classifier'](features)), labels, progress=1)
    linear = nn.Linear(FEATURES, CLASSES)
    linear.load_state_dict(
        {k: v.flatten(1) if v.dim() > 2 else v for k, v in network['classifier'].state_dict().items()}
    )
    torch.testing.assert_close(loss, ISDACriterion(linear, 2.0)(linear(features.flatten(1)), labels, progress=1))


def test_evaluation_is_plain_and_touches_no_statistics(scene):
    images, labels = scene
    network = segmenter(images.device)
    criterion = ISDACriterion(network['classifier'], 2.0)
    logits = F.interpolate(forward(network, images), size=labels.shape[1:], mode='bilinear')
    expected = F.cross_entropy(logits, labels)
    with torch.no_grad():
        torch.testing.assert_close(criterion(logits, labels), expected)
    with pytest.warns(UserWarning, match=r'eval mode.*criterion\.train\(\)'):
        torch.testing.assert_close(criterion.eval()(logits, labels), expected)
    assert not criterion.statistics.count.any()


def test_the_criterion_does_not_own_the_classifier():
    """Guards parameters that would be given to the optimizer twice, and state dicts that hold them twice."""
    criterion = ISDACriterion(nn.Linear(FEATURES, CLASSES), 1.0)
    assert not list(criterion.parameters())
    assert set(criterion.state_dict()) == {'statistics.count', 'statistics.mean', 'statistics.covariance'}


STEPS = 4


def batch(step):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(4, 3, 16, 24, generator=generator)
    labels = torch.randint(0, CLASSES, (4, 16, 24), generator=generator)
    labels[:2][labels[:2] == 0] = 1  # The first half, which one of two ranks gets, lacks class 0.
    return images, labels


def train(network, criterion, begin=0, end=STEPS, *, run=None, rows=slice(None), parts=1):
    """Some steps of SGD; with several ``parts`` the gradients of parts of a batch are accumulated."""
    run = run or (lambda images: forward(network, images))
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for step in range(begin, end):
        images, labels = (tensor[rows] for tensor in batch(step))
        for x, y in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            (criterion(run(x), y, progress=(step + 1) / STEPS) / parts).backward()
        optimizer.step()
        optimizer.zero_grad()


def results(network, criterion):
    return {**network.state_dict(), **criterion.state_dict()}


def start(covariance='diagonal', **options):
    network = segmenter()
    return network, ISDACriterion(network['classifier'], 2.0, covariance=covariance, rank=2, **options)


@pytest.mark.parametrize('covariance', COVARIANCES)
def test_a_resumed_run_is_the_unbroken_one(covariance):
    unbroken, half, resumed = start(covariance), start(covariance), start(covariance)
    train(*unbroken)
    train(*half, end=2)
    for new, old in zip(resumed, half, strict=True):
        new.load_state_dict(old.state_dict())
    train(*resumed, begin=2)
    got = results(*resumed)
    assert all(torch.equal(value, got[name]) for name, value in results(*unbroken).items())


def test_gradient_accumulation_keeps_every_part_to_its_own_features():
    """Both passes are made before the first loss: their features must not be mixed up."""
    network, criterion = start()
    images, labels = batch(0)
    logits = [forward(network, part) for part in images.chunk(2)]
    for z, y in zip(logits, labels.chunk(2), strict=True):
        criterion(z, y, progress=1).backward()
    other, expected = start()
    for x, y in zip(images.chunk(2), labels.chunk(2), strict=True):
        expected(forward(other, x), y, progress=1).backward()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(criterion.state_dict()[name], value)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_autocast_keeps_statistics_and_loss_in_float32():
    network, criterion = start()
    plain_network, plain = start()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = criterion(forward(network, batch(0)[0]), batch(0)[1], progress=1)
    loss.backward()
    expected = plain(forward(plain_network, batch(0)[0]), batch(0)[1], progress=1)
    assert loss.dtype == torch.float32 and criterion.statistics.covariance.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    torch.testing.assert_close(criterion.statistics.mean, plain.statistics.mean, rtol=0.05, atol=0.01)


def test_a_compiled_network_trains_alike():
    network, criterion = start()
    train(network, criterion, run=torch.compile(lambda images: forward(network, images), backend='aot_eager'))
    other = start()
    train(*other)
    got = results(network, criterion)
    for name, value in results(*other).items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)


def _rank(rank):
    outcome = {}
    for covariance in COVARIANCES:
        network, criterion = start(covariance, reduction='sum')
        run = DistributedDataParallel(_Forward(network))
        train(network, criterion, end=2, run=run, rows=slice(2 * rank, 2 * rank + 2))
        outcome[covariance] = results(network, criterion)
    return outcome


class _Forward(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return forward(self.network, images)


def test_two_processes_train_like_one_on_the_joined_batch():
    """Guards statistics and gradients under DDP; DDP averages over ranks, so one process takes half of the sum."""
    ranks = run_ranks(_rank)
    for covariance in COVARIANCES:
        network, criterion = start(covariance, reduction='sum')
        half = _Halved(criterion)
        train(network, half, end=2)
        expected = results(network, criterion)
        for name, value in expected.items():
            got, other = (rank[covariance][name] for rank in ranks)
            assert torch.equal(got, other)
            if name.endswith('factor'):  # The directions of F are free in their signs.
                got, value = got.mT @ got, value.mT @ value
            torch.testing.assert_close(got, value, rtol=1e-4, atol=1e-5, msg=f'{covariance} {name}')


class _Halved:
    def __init__(self, criterion):
        self.criterion = criterion

    def __call__(self, logits, labels, **options):
        return self.criterion(logits, labels, **options) / 2


def test_a_copy_for_averaged_weights_leaves_the_original_alone():
    network, criterion = start()
    averaged = torch.optim.swa_utils.AveragedModel(network)
    train(network, criterion, end=1)
    averaged.update_parameters(network)
    forward(averaged.module, batch(1)[0])
    train(network, criterion, begin=1)
    assert criterion.statistics.count.sum() == STEPS * 4 * 4 * 6


def test_second_derivatives_are_right():
    """Guards meta-learning: the gradient of a gradient, through table, look-up and loss, against Eq. 7 in autograd."""
    linear = nn.Linear(FEATURES, CLASSES).double()
    criterion = ISDACriterion(linear, 2.0, covariance='full')
    criterion.statistics.double()
    features = torch.randn(12, FEATURES, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, CLASSES, (12,))
    outcomes = []
    for slow in (False, True):
        logits = linear(features)
        if slow:
            shift = table(linear.weight, criterion.statistics.matrices(), 2.0)
            value = F.cross_entropy(logits + shift[labels], labels)
        else:
            value = criterion(logits, labels, progress=1)
        grad = torch.autograd.grad(value, [linear.weight, features], create_graph=True)
        outcomes.append(torch.autograd.grad(sum(g.square().sum() for g in grad), [linear.weight, features]))
    for got, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('progress', [None, -0.1, 1.1, float('nan'), '1'])
def test_progress_is_required_in_training(progress):
    linear = nn.Linear(FEATURES, CLASSES)
    criterion = ISDACriterion(linear, 2.0)
    with pytest.raises(ValueError, match=r'progress must be the share of training that is over'):
        criterion(linear(torch.randn(2, FEATURES)), torch.tensor([0, 1]), progress=progress)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(lambda_0='1'), r"lambda_0 must lie in \[0, 1e6\], got '1'"),
        (dict(rank=2.5, covariance='low_rank'), 'rank must be a whole number, got 2.5'),
        (dict(weight=[1, 1, -1]), 'weight must hold finite numbers, 0 or more'),
        (dict(weight=[1, float('nan'), 1]), 'weight must hold finite numbers, 0 or more'),
        (dict(weight=['a', 'b', 'c']), 'weight must hold a number a class'),
        (dict(lambda_0=-1), r'lambda_0 must lie in \[0, 1e6\], got -1'),
        (dict(covariance='ful'), "covariance must be one of .* 'low_rank', got 'ful'"),
        (dict(augment_at='pixel'), "augment_at must be one of 'feature', 'label', got 'pixel'"),
        (dict(reduction='avg'), 'reduction must be one of'),
        (dict(label_smoothing=2), 'label_smoothing must lie in'),
        (dict(weight=torch.ones(3)), r'weight must have shape \(5,\), one a class, got \(3,\)'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ISDACriterion(nn.Linear(FEATURES, CLASSES), **{'lambda_0': 1.0, **options})


def test_wrong_calls_are_named():
    linear = nn.Linear(FEATURES, CLASSES)
    criterion = ISDACriterion(linear, 1.0)
    logits = linear(torch.randn(2, FEATURES))
    with pytest.raises(ValueError, match='labels hold the value 9'):
        criterion(logits, torch.tensor([0, 9]), progress=1)
    with pytest.raises(TypeError, match='labels must be classes.*soft targets'):
        criterion(logits, torch.rand(2, CLASSES), progress=1)
    with pytest.raises(ValueError, match=r'got \(2, 5\) and \(3,\)'):
        criterion(logits, torch.tensor([0, 1, 2]), progress=1)
    with pytest.raises(RuntimeError, match='not what classifier makes'):
        criterion(logits * 2, torch.tensor([0, 1]), progress=1)


@pytest.mark.parametrize('shape', [(8,), (2, 4, 4)])
def test_two_losses_of_one_pass_have_their_own_labels(shape):
    """Guards Mixup and CutMix: the second loss lacked the rows of classes that the first has no label of."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 5) if len(shape) == 1 else nn.Conv2d(6, 5, 1)
    criterion = ISDACriterion(layer, lambda_0=1.0)

    def logits():
        return layer(torch.randn(shape[0], 6, *shape[1:]))

    criterion(logits(), torch.arange(5).repeat(7)[: math.prod(shape)].view(shape), progress=0.5)
    plain, second = logits(), torch.arange(math.prod(shape)).view(shape) % 4 + 1
    criterion(plain, torch.zeros(shape, dtype=torch.int64), progress=0.5)
    table = criterion.statistics.shift(layer.weight.flatten(1), 0.5)
    expected = F.cross_entropy(plain + table[second].movedim(-1, 1), second)
    torch.testing.assert_close(criterion(plain, second, progress=0.5), expected)


def test_features_are_let_go_where_nothing_is_augmented():
    """Guards memory: eight passes were kept for losses that never take them."""
    layer = nn.Linear(6, 5)
    criterion = ISDACriterion(layer, lambda_0=0.0)
    for _ in range(3):
        criterion(layer(torch.randn(4, 6)), torch.zeros(4, dtype=torch.int64), progress=0.5)
    assert not criterion.tap._passes


def test_vectors_of_a_map_are_refused_with_the_shape_that_is_right():
    layer = nn.Linear(6, 5)
    criterion = ISDACriterion(layer, lambda_0=1.0)
    with pytest.raises(ValueError, match=r'given maps or tokens of size \(3,\).*pass logits \(N, C, \*spatial\)'):
        criterion(layer(torch.randn(2, 3, 6)).flatten(0, 1), torch.zeros(6, dtype=torch.int64), progress=0.5)


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_a_checkpoint_around_the_loss_is_refused(use_reentrant):
    """Guards the statistics, which took the batch twice, and a gradient of another table than the loss's."""
    layer = nn.Linear(6, 5)
    criterion = ISDACriterion(layer, lambda_0=1.0)

    def step(features):
        return criterion(layer(features), torch.arange(4), progress=0.5)

    loss = checkpoint(step, torch.randn(4, 6, requires_grad=True), use_reentrant=use_reentrant)
    with pytest.raises(RuntimeError, match='take the loss outside of the checkpoint'):
        loss.backward()
