"""Which features a loss gets: those of its own logits, or an error."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmseg_isda.core import ClassifierTap
from mmseg_isda.core.tap import is_classifier


@pytest.fixture
def tap(device):
    tap = ClassifierTap(nn.Conv2d(3, 5, 1).to(device), 'head.conv_seg')
    tap.num_consumers = 1
    return tap


def features(device, *shape):
    return torch.randn(*shape or (2, 3, 4, 4), device=device, requires_grad=True)


def test_it_keeps_what_enters_and_leaves_in_training(tap, device):
    entering = features(device)
    logits = tap.classifier(entering)
    found = tap.find(logits)
    assert found.features is entering and found.logits is logits and found.size == (4, 4)


def test_each_logits_find_their_own_pass(tap, device):
    """Guards two passes before the first loss: the later one's features must not get the earlier one's labels."""
    first, second = features(device), features(device)
    a, b = tap.classifier(first), tap.classifier(second)
    up = F.interpolate(a.double(), scale_factor=2, mode='bilinear')
    assert tap.find(up).features is first and tap.find(b).features is second and tap.find(a * 2 + 1).features is first


def test_a_pass_under_no_grad_or_in_evaluation_is_not_kept(tap, device):
    """Guards pseudo labels, which a network in training mode makes between a pass and its loss."""
    entering = features(device)
    logits = tap.classifier(entering)
    with torch.no_grad():
        tap.classifier(features(device))
    tap.classifier.eval()(features(device))
    tap.classifier.train()
    assert tap.find(logits).features is entering


def test_logits_without_a_gradient_are_refused(tap, device):
    """Guards a re-entrant checkpoint and no_grad: the shift would train the classifier's weight alone."""
    logits = tap.classifier(features(device))
    with pytest.raises(RuntimeError, match=r'no gradient.*train head\.conv_seg alone.*use_reentrant=False'):
        tap.find(logits.detach())


@pytest.mark.parametrize('use_reentrant', [True, False])
def test_activation_checkpoints(tap, device, use_reentrant):
    """Re-entrant ones hide the pass, others keep its graph; a pass repeated in backward disturbs nothing."""
    entering = features(device)
    logits = checkpoint(tap.classifier, entering, use_reentrant=use_reentrant)
    if use_reentrant:
        with pytest.raises(RuntimeError, match='has not run in training mode with gradients.*use_reentrant=False'):
            tap.find(logits)
        return
    found = tap.find(logits)
    tap.take(found)
    logits.sum().backward()
    again = tap.classifier(features(device))
    assert tap.find(again).number > found.number


def test_logits_of_another_classifier_are_refused(tap, device):
    entering = features(device)
    tap.classifier(entering)
    foreign = nn.Conv2d(3, 5, 1).to(device)(entering)
    for logits in (foreign, F.interpolate(foreign, scale_factor=2)):
        with pytest.raises(RuntimeError, match=r'do not come from head\.conv_seg.*classifier='):
            tap.find(logits)


def test_a_hidden_layer_with_another_number_of_outputs_is_named(tap, device):
    hidden = tap.classifier(features(device))
    logits = nn.Conv2d(5, 7, 1).to(device)(hidden)
    with pytest.raises(ValueError, match=r'7 classes, but head\.conv_seg has 5 outputs'):
        tap.find(logits)


def test_a_classifier_in_evaluation_says_how_to_freeze_it(tap, device):
    logits = tap.classifier.eval()(features(device))
    with pytest.raises(RuntimeError, match=r'eval mode.*requires_grad_\(False\)'):
        tap.find(logits)


def test_tensors_are_let_go_once_every_loss_has_taken_them(tap, device):
    """Guards the memory: features must not outlive the losses, nor passes that no loss takes pile up."""
    tap.num_consumers = 2
    found = tap.find(tap.classifier(features(device)))
    tap.take(found)
    assert found.features is not None
    tap.take(found)
    assert found.features is None and found.logits is None
    for _ in range(20):
        last = tap.classifier(features(device))
    assert len(tap._passes) <= 8
    tap.take(tap.find(last))
    tap.classifier(features(device))
    assert len(tap._passes) == 1
    tap.drop()
    assert not tap._passes


def test_a_compiled_function_hides_its_graph(tap, device):
    """With one pass there is no doubt whose logits they are; with two there is."""

    class CompiledFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad

    entering = features(device)
    tap.classifier(entering)
    logits = CompiledFunction.apply(features(device, 2, 5, 4, 4))
    assert tap.find(logits).features is entering
    tap.classifier(features(device))
    with pytest.raises(RuntimeError, match='run 2 times since the last loss'):
        tap.find(logits)


def test_the_weight_is_a_matrix_with_a_graph(tap):
    assert tap.weight.shape == (5, 3) and tap.weight.requires_grad
    assert ClassifierTap(nn.Linear(3, 5), 'fc').weight.shape == (5, 3)


@pytest.mark.parametrize('shape', [(2, 4, 6, 3), (2, 24, 3), (2, 3)])
def test_a_linear_layer_has_its_channels_last(shape):
    """Guards maps and tokens: channels taken for rows would give wrong statistics wherever the sizes allow it."""
    tap = ClassifierTap(nn.Linear(3, 5), 'fc')
    tap.num_consumers = 1
    entering = torch.randn(shape, requires_grad=True)
    logits = tap.classifier(entering)
    found = tap.find(logits.movedim(-1, 1) if len(shape) > 2 else logits)
    expected = entering.movedim(-1, 1) if len(shape) > 2 else entering
    assert torch.equal(found.features, expected) and found.size == shape[1:-1]


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copied_classifier_has_a_tap_of_its_own(tap, duplicate):
    """Guards EMAHook: its copy must not fill the tap of the network that trains, nor fail on tensors with a graph."""
    logits = tap.classifier(features(tap.weight.device))
    other = duplicate(tap.classifier)
    other(features(tap.weight.device))
    assert len(tap._passes) == 1 and tap.find(logits)


class Normalized(nn.Linear):
    def forward(self, x):
        return F.linear(x, F.normalize(self.weight), self.bias)


class Plain(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias)


def test_a_subclass_is_judged_by_what_it_computes():
    """timm's Linear casts and multiplies, a cosine classifier normalizes its weight: only the latter is refused."""
    tap = ClassifierTap(Plain(3, 5), 'fc')
    assert tap.find(tap.classifier(torch.randn(4, 3, requires_grad=True)))
    with pytest.raises(TypeError, match='fc is a Normalized, which does more than multiply by its weight'):
        ClassifierTap(Normalized(3, 5), 'fc').classifier(torch.randn(4, 3, requires_grad=True))


@pytest.mark.parametrize(
    ('module', 'message'),
    [
        (nn.Conv2d(3, 5, 3), r'must be a linear layer or a 1x1 convolution.*Give the head a 1x1 classifier'),
        (nn.Conv2d(4, 4, 1, groups=2), 'one group'),
        (nn.Conv2d(3, 5, 1, stride=2), 'stride 1'),
        (nn.Conv2d(3, 5, 1, padding=1), 'no padding'),
        (nn.Identity(), r'must be a linear layer or a 1x1 convolution'),
        ('conv_seg', 'must be a linear layer'),
    ],
)
def test_other_modules_are_refused(module, message):
    with pytest.raises(TypeError, match=r'decode_head\.x .*' + message):
        ClassifierTap(module, 'decode_head.x')
    assert not is_classifier(module)


def test_a_sharded_weight_is_refused():
    """Under FSDP a weight is one flat part of itself."""
    linear = nn.Linear(3, 5)
    linear.weight = nn.Parameter(torch.zeros(15))
    with pytest.raises(TypeError, match=r'sharded over processes \(FSDP, DeepSpeed ZeRO-3\).*DistributedDataParallel'):
        ClassifierTap(linear, 'fc')


def test_a_weight_that_was_sharded_later_is_refused():
    """FSDP frees it after the pass: it ended in a segmentation fault."""
    linear = nn.Linear(3, 4)
    tap = ClassifierTap(linear)
    logits = linear(torch.randn(2, 3))
    linear.weight.untyped_storage().resize_(0)
    with pytest.raises(TypeError, match='sharded over processes'):
        tap.find(logits)


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('size', [(), (2, 3)])
def test_features_changed_in_place_since_are_refused(autocast, size):
    """Autograd cannot notice it where the classifier is frozen or casts its input: the loss was that of others."""
    layer = nn.Conv2d(3, 4, 1) if size else nn.Linear(3, 4)
    layer.requires_grad_(autocast)
    tap = ClassifierTap(layer)
    features = torch.randn(2, 3, *size, requires_grad=True) * 1
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        logits = layer(features)
    assert tap.find(logits).features is features
    features.relu_()
    with pytest.raises(RuntimeError, match=r'changed in place since.*inplace=True'):
        tap.find(logits)


def test_a_binary_classifier_is_refused():
    with pytest.raises(ValueError, match=r'single output channel.*out_channels=2'):
        ClassifierTap(nn.Conv2d(3, 1, 1), 'head.conv_seg')


class Adapter(nn.Linear):
    """Adds a low-rank product that is zero at first."""

    def __init__(self):
        super().__init__(6, 5)
        self.down, self.up = nn.Parameter(torch.ones(2, 6)), nn.Parameter(torch.zeros(5, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.t() @ self.up.t()


def test_an_adapter_that_grows_is_refused():
    """Guards a check of the first pass alone, when the adapter adds nothing yet."""
    layer = Adapter()
    ClassifierTap(layer, 'fc')
    layer(torch.randn(4, 6))
    layer.up.data.fill_(0.1)
    with pytest.raises(TypeError, match='fc is a Adapter, which does more than multiply'):
        layer(torch.randn(4, 6))


@pytest.mark.parametrize('by', ['a hook', 'another forward'])
def test_a_plain_layer_that_was_changed_is_refused(by):
    """Guards layers whose class says nothing: hooks and wrapped methods, as libraries for large models set them."""
    layer = nn.Linear(6, 5)
    if by == 'a hook':
        layer.register_forward_hook(lambda module, inputs, output: output * 7)
    else:
        forward = layer.forward
        layer.forward = lambda x: forward(F.normalize(x)) * 16
    ClassifierTap(layer, 'fc')
    with pytest.raises(TypeError, match='fc is a Linear, which does more than multiply'):
        layer(torch.randn(4, 6))


def test_a_pass_keeps_the_weight_that_it_used():
    """Guards meta-learning: ``functional_call`` runs the layer with other weights than its own."""
    layer = nn.Linear(6, 5)
    tap = ClassifierTap(layer)
    other = {'weight': torch.randn(5, 6, requires_grad=True), 'bias': torch.zeros(5)}
    logits = torch.func.functional_call(layer, other, (torch.randn(4, 6),))
    torch.testing.assert_close(tap.find(logits).weight, other['weight'])


class RandomHalf(nn.Module):
    calls = 0

    def forward(self, weight):
        RandomHalf.calls += 1
        return torch.nn.functional.dropout(weight, 0.5)


@pytest.mark.parametrize('duplicate', [lambda module: module, copy.deepcopy])
def test_a_random_parametrization_is_drawn_once(duplicate):
    """The shift was that of a second draw, and spectral_norm took an iteration too many."""
    linear = nn.Linear(9, 7)
    nn.utils.parametrize.register_parametrization(linear, 'weight', RandomHalf())
    module = duplicate(nn.ModuleList([linear, nn.Identity()]))[0]
    tap = ClassifierTap(module) if duplicate is copy.deepcopy else ClassifierTap(linear)
    features = torch.eye(9, requires_grad=True)
    before = RandomHalf.calls
    logits = module(features)
    assert RandomHalf.calls == before + 1
    torch.testing.assert_close(tap.find(logits).weight, (logits - module.bias).T)
    assert RandomHalf.calls == before + 1
    with pytest.raises(RuntimeError):
        module(torch.zeros(2, 3))
    assert not nn.utils.parametrize._cache_enabled and tap._cache is None


def test_features_may_be_named():
    layer = nn.Linear(6, 5)
    tap = ClassifierTap(layer)
    inputs = torch.randn(4, 6)
    assert tap.find(layer(input=inputs)).features is inputs


@pytest.mark.parametrize('padding', ['same', 'valid', 0])
def test_padding_may_be_named(padding):
    """Guards words of PyTorch that mean no padding at a kernel of one."""
    assert is_classifier(nn.Conv2d(3, 5, 1, padding=padding))
