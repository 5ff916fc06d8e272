"""ISDALoss within the heads of MMPretrain."""

import copy
import subprocess
import sys

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_isda.classification import ISDALoss
from mmseg_isda.engine import bind_isda_losses
from tests.classification import toy
from tests.reference import table

KINDS = ('full', 'diagonal', 'shared', 'identity', 'low_rank')
HEADS = {
    'fc': toy.head(),
    'layers.head': dict(type='VisionTransformerClsHead', num_classes=4, in_channels=6, hidden_dim=5, init_cfg=None),
    'layers.1.fc': dict(type='StackedLinearClsHead', num_classes=4, in_channels=6, mid_channels=[5]),
}


def covariances(loss) -> torch.Tensor:
    """(C, A, A) float64."""
    return loss.statistics.matrices().double()


def expected_losses(logits, labels, weight, matrices, strength) -> torch.Tensor:
    """Eq. 7, image by image, in float64."""
    shift = table(weight.double(), matrices, strength)
    out = []
    for z, y in zip(logits.double(), labels.tolist(), strict=True):
        z = z + shift[y]
        out.append(z.logsumexp(0) - z[y])
    return torch.stack(out)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('classifier', HEADS)
def test_heads_get_the_loss_of_equation_7(classifier, kind):
    """Guards the tap of each head, and every covariance: a second batch meets statistics that are not empty."""
    loss_cfg = dict(type='ISDALoss', covariance=kind, classifier=classifier)
    network = toy.build(toy.model(head={**HEADS[classifier], 'loss': loss_cfg}))
    seen = {}
    layer = network.head.get_submodule(classifier)
    layer.register_forward_hook(lambda module, x, out: seen.update(features=x[0], logits=out))
    toy.losses(network)
    value = toy.losses(network, range(8, 20))['loss']
    value.backward()
    loss = network.head.loss_module
    labels = torch.cat([toy.ToyImages()[i]['data_samples'].gt_label for i in range(8, 20)])
    assert loss.statistics.count.sum() == 20
    expected = expected_losses(seen['logits'].detach(), labels, layer.weight.detach(), covariances(loss), 1.5).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert layer.weight.grad.isfinite().all() and network.backbone.conv1.weight.grad.any()


@pytest.mark.parametrize('kind', KINDS)
def test_the_gradient_is_that_of_equation_7(kind):
    """Against autograd through the slow equation: nothing through the covariance, all through the weight."""
    network = toy.build(toy.model(dict(type='ISDALoss', covariance=kind)))
    toy.losses(network)
    seen = {}
    network.head.fc.register_forward_hook(lambda module, x, out: seen.update(features=x[0].detach()))
    toy.losses(network)['loss'].backward()
    labels = torch.cat([toy.ToyImages()[i]['data_samples'].gt_label for i in range(8)])
    weight = network.head.fc.weight.detach().double().requires_grad_()
    bias = network.head.fc.bias.detach().double().requires_grad_()
    features = seen['features'].double().requires_grad_()
    logits = features @ weight.t() + bias
    shift = table(weight, covariances(network.head.loss_module), 1.5)[labels]
    torch.nn.functional.cross_entropy(logits + shift, labels).backward()
    torch.testing.assert_close(network.head.fc.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(network.head.fc.bias.grad.double(), bias.grad, rtol=1e-4, atol=1e-6)


def test_lambda_0_of_zero_is_cross_entropy_bit_for_bit():
    """Through a whole network: loss, accuracy and every gradient."""
    results = []
    for loss in (dict(type='ISDALoss', lambda_0=0), dict(type='CrossEntropyLoss')):
        torch.manual_seed(3)
        network = toy.build(toy.model(head=toy.head(loss, cal_acc=True)))
        out = toy.losses(network)
        out['loss'].backward()
        results.append([out['loss'], *out['accuracy_top-1'], *(parameter.grad for parameter in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert len(results[0]) == 2 + 8


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.1]])
@pytest.mark.parametrize('ignored', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_lambda_0_of_zero_follows_every_option_of_cross_entropy(reduction, class_weight, ignored, dtype):
    options = dict(reduction=reduction, class_weight=class_weight, loss_weight=0.4)
    init_default_scope('mmpretrain')
    plain, isda = (MODELS.build(dict(options, type=kind)) for kind in ('CrossEntropyLoss', 'ISDALoss'))
    isda.lambda_0 = 0
    logits, labels = torch.randn(7, 4, dtype=dtype), torch.randint(0, 4, (7,))
    if ignored:
        labels[:2] = -100
    calls = [{}, dict(weight=torch.rand(7)), dict(reduction_override='none'), dict(reduction_override='mean')]
    calls += [] if reduction == 'sum' else [dict(avg_factor=3), dict(avg_factor=torch.tensor(5.0))]
    for call in calls:
        values, gradients = [], []
        for loss in (isda, plain):
            leaf = logits.clone().requires_grad_()
            values.append(loss(leaf, labels, **call))
            gradients.append(torch.autograd.grad(values[-1].sum(), leaf)[0])
        assert torch.equal(*values) and torch.equal(*gradients)
    if reduction == 'sum':
        with pytest.raises(ValueError, match='avg_factor can not be used'):
            isda(logits, labels, avg_factor=3)


def test_class_weights_and_averages_hold_for_shifted_logits():
    weights = [0.5, 1.0, 2.0, 0.1]
    loss_cfg = dict(type='ISDALoss', class_weight=weights, loss_weight=0.4, covariance='diagonal')
    network = toy.build(toy.model(loss_cfg))
    seen = {}
    network.head.fc.register_forward_hook(lambda module, x, out: seen.update(logits=out.detach()))
    value = toy.losses(network)['loss']
    labels = torch.cat([toy.ToyImages()[i]['data_samples'].gt_label for i in range(8)])
    loss = network.head.loss_module
    each = expected_losses(seen['logits'], labels, network.head.fc.weight.detach(), covariances(loss), 1.5)
    expected = 0.4 * (each * torch.tensor(weights)[labels]).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_ignored_images_are_left_out(kind):
    """No loss, no shift and no part in the statistics; a batch of nothing else gives zero and finite gradients."""
    network = toy.build(toy.model(dict(type='ISDALoss', covariance=kind, reduction='none')))
    head, features = network.head, torch.randn(5, 6)
    labels = torch.tensor([0, 7, 2, 7, 1])
    out = head.loss_module(head.fc(features), labels, ignore_index=7)
    assert out[[1, 3]].tolist() == [0, 0] and (out[[0, 2, 4]] > 0).all()
    assert head.loss_module.statistics.count.tolist() == [1, 1, 1, 0]
    out = head.loss_module(head.fc(features), torch.full((5,), 7), ignore_index=7)
    out.sum().backward()
    assert not out.any() and not head.fc.weight.grad.any()
    assert head.loss_module.check_iteration()['shift'] == 0


def test_the_reported_shift_is_the_mean_over_the_wrong_classes_of_the_images():
    network = toy.build(toy.model())
    head, features, labels = network.head, torch.randn(6, 6), torch.tensor([0, 0, 0, 1, -100, 2])
    head.loss_module(head.fc(features), labels)
    shift = table(head.fc.weight.detach().double(), covariances(head.loss_module), 1.5)
    wrong = [shift[y, j] for y in (0, 0, 0, 1, 2) for j in range(4) if j != y]
    seen = head.loss_module.check_iteration()
    assert seen['shift'] == pytest.approx(torch.stack(wrong).mean().item(), rel=1e-5) and seen['lambda'] == 1.5


def test_accuracy_is_that_of_the_plain_logits():
    """Guards logits that are shifted in place: the head takes its accuracy from them after the loss."""
    network = toy.build(toy.model(head=toy.head(cal_acc=True, topk=(1, 2))))
    for loss in bind_isda_losses(network).values():
        loss.strength = 1e4  # would turn every prediction into a wrong class
    seen = {}
    network.head.fc.register_forward_hook(lambda module, x, out: seen.update(logits=out))
    out = toy.losses(network)
    labels = torch.cat([toy.ToyImages()[i]['data_samples'].gt_label for i in range(8)])
    hits = (seen['logits'].argmax(1) == labels).float().mean() * 100
    assert float(out['accuracy_top-1'][0]) == pytest.approx(hits.item())


def test_only_rows_of_labels_present_are_made(monkeypatch):
    """Guards the memory: with 1000 classes and 8 images a table of 1000 x 1000 is 125 times too large."""
    seen = []
    network = toy.build(toy.model())
    statistics = network.head.loss_module.statistics
    original = statistics.shift

    def shift(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    monkeypatch.setattr(statistics, 'shift', shift)
    toy.losses(network, [0, 3, 6, 1])
    assert [tuple(table.shape) for table in seen] == [(2, 4)]


def test_evaluation_is_plain_cross_entropy_and_sees_no_statistics():
    network = toy.build(toy.model())
    network.eval()
    data = toy.batch(network)
    with torch.no_grad():
        loss, logits = network(**data, mode='loss')['loss'], network.head(network.extract_feat(data['inputs']))
    assert not network.head.loss_module.statistics.count.any()
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, labels))


def test_a_second_call_in_one_iteration_does_not_update_again():
    network = toy.build(toy.model())
    head = network.head
    logits, labels = head.fc(torch.randn(4, 6)), torch.tensor([0, 1, 2, 2])
    assert torch.equal(head.loss_module(logits, labels), head.loss_module(logits, labels))
    assert head.loss_module.statistics.count.sum() == 4


def test_a_classifier_that_is_a_convolution():
    """Heads of mobile networks pool first and end in a 1x1 convolution."""
    network = toy.build(toy.model(head=toy.head(dict(type='ISDALoss', classifier='fc'))))
    head = network.head
    loss = ISDALoss(classifier='conv')
    holder = torch.nn.ModuleDict(dict(conv=torch.nn.Conv2d(6, 4, 1), loss=loss))
    with torch.no_grad():
        holder.conv.weight.copy_(head.fc.weight[..., None, None])
        holder.conv.bias.copy_(head.fc.bias)
    bind_isda_losses(holder)['ModuleDict'].strength = 1.5
    features, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 2, 0])
    got = loss(holder.conv(features[..., None, None]).flatten(1), labels)
    torch.testing.assert_close(got, head.loss_module(head.fc(features), labels))


def test_features_that_are_not_pooled_are_refused():
    network = toy.build(toy.model())
    head = network.head
    with pytest.raises(ValueError, match=r'one feature vector for each image.*\(2, 6, 5\)'):
        head.loss_module(head.fc(torch.randn(2, 5, 6)).mean(1), torch.tensor([0, 1]))


@pytest.mark.parametrize('label', [torch.rand(3, 4), torch.ones(3)])
def test_soft_targets_are_refused(label):
    """Mixup, CutMix and label smoothing hand over scores."""
    with pytest.raises(TypeError, match=r'soft targets.*no class.*Mixup, CutMix.*LabelSmoothLoss'):
        ISDALoss()(torch.zeros(3, 4), label)


def test_one_hot_integers_say_which_setting_makes_them():
    with pytest.raises(TypeError, match=r'one-hot integers of shape \(3, 4\): set data_preprocessor\.to_onehot=False'):
        ISDALoss()(torch.zeros(3, 4), torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 4))


@pytest.mark.parametrize('covariance', KINDS)
def test_label_smoothing_is_that_of_the_host_at_lambda_0_of_zero(covariance):
    """Guards the share of the uniform target: MMPretrain's LabelSmoothLoss in its original mode."""
    init_default_scope('mmpretrain')
    theirs = MODELS.build(dict(type='LabelSmoothLoss', label_smooth_val=0.2, mode='original', num_classes=4))
    logits, labels = torch.randn(6, 4), torch.randint(0, 4, (6,))
    ours = ISDALoss(lambda_0=0, label_smoothing=0.2, covariance=covariance)
    torch.testing.assert_close(ours(logits, labels), theirs(logits, labels))


def test_batch_augmentations_are_refused_through_the_whole_network():
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)], probs=[1.0])
    network = toy.build(toy.model(train_cfg=augments))
    with pytest.raises(TypeError, match=r'model\.train_cfg\.augments'):
        toy.losses(network)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'logits \(N, C\) and labels \(N,\), got \(3, 4\) and \(2,\)'):
        ISDALoss()(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match='class_weight must have 4 values, one a class, got 2'):
        ISDALoss(lambda_0=0, class_weight=[1, 2])(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize('lambda_0', [0, 0.5])
def test_a_label_out_of_range_is_named(lambda_0):
    network = toy.build(toy.model(dict(type='ISDALoss', lambda_0=lambda_0)))
    data = toy.batch(network)
    data['data_samples'][0].set_gt_label(toy.CLASSES)
    with pytest.raises(ValueError, match=f'value {toy.CLASSES}, but must lie in'):
        network(**data, mode='loss')


def test_a_wrong_classifier_name_lists_the_candidates():
    """StackedLinearClsHead has a property fc that is a block, not a linear layer."""
    init_default_scope('mmpretrain')
    network = MODELS.build(toy.model(head={**HEADS['layers.1.fc'], 'loss': dict(type='ISDALoss')}))
    with pytest.raises(ValueError, match=r"'fc'.*head\.layers\.0\.fc, head\.layers\.1\.fc"):
        bind_isda_losses(network)


def test_a_hidden_layer_is_no_classifier():
    """Its outputs lead to the logits, but are not them."""
    loss = dict(type='ISDALoss', classifier='layers.0.fc')
    network = toy.build(toy.model(head={**HEADS['layers.1.fc'], 'loss': loss}))
    with pytest.raises(ValueError, match=r'4 classes, but head\.layers\.0\.fc has 5 outputs.*classifier='):
        toy.losses(network)


def test_a_classifier_that_normalizes_its_weight_is_refused():
    init_default_scope('mmpretrain')
    loss = dict(type='ISDALoss', classifier='norm_product')
    network = toy.build(toy.model(head=dict(type='ArcFaceClsHead', num_classes=4, in_channels=6, loss=loss)))
    with pytest.raises(TypeError, match=r'head\.norm_product is a NormProduct, which does more than multiply'):
        toy.losses(network)


def test_an_unbound_loss_says_which_line_is_missing():
    loss, labels = ISDALoss().train(), torch.tensor([0, 1])
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(isda=dict\(type='ISDAHook'\)\)"):
        loss(torch.zeros(2, 4, requires_grad=True), labels)


def test_a_copy_of_the_network_does_not_disturb_it():
    """Guards EMAHook, whose copy runs beside the network."""
    network = toy.build(toy.model())
    toy.losses(network)
    other = copy.deepcopy(network)
    toy.losses(other)
    counts = [n.head.loss_module.statistics.count.sum() for n in (network, other)]
    assert counts[1] == 2 * counts[0]


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_of_a_batch_outlives_the_loss(kind):
    """Guards the memory: no features are held by the tap or the loss after an iteration."""
    network = toy.build(toy.model(dict(type='ISDALoss', covariance=kind)))
    toy.losses(network)
    loss = network.head.loss_module
    assert all(kept.features is None and kept.logits is None for kept in loss.tap._passes)
    held = [value for value in vars(loss).values() if isinstance(value, torch.Tensor)]
    assert all(tensor.numel() <= toy.CLASSES and tensor.grad_fn is None for tensor in held)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(covariance='low'), ValueError, "covariance must be one of .*'low_rank', got 'low'"),
        (dict(reduction='avg'), ValueError, "reduction must be one of .* got 'avg'"),
        (dict(schedule='cosine'), ValueError, "schedule must be one of .* got 'cosine'"),
        (dict(lambda_0=-2), ValueError, 'lambda_0 must lie in'),
        (dict(class_weight=[1.0, -1.0]), ValueError, 'class_weight must hold finite numbers, 0 or more'),
        (dict(rank=0), ValueError, 'rank must be at least 1, got 0'),
        (dict(use_sigmoid=True), ValueError, 'binary cross entropy'),
        (dict(use_soft=True), ValueError, 'soft targets'),
        (dict(label_smooth_val=0.1), ValueError, 'label_smooth_val is an option of LabelSmoothLoss.*_delete_=True'),
        (dict(lamda_0=1), TypeError, r"no option 'lamda_0': did you mean 'lambda_0'\?"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        ISDALoss(**options)


def test_the_one_line_edit_of_an_inherited_config_works():
    """The base's other options are merged into the new dict."""
    assert ISDALoss(use_sigmoid=False, use_soft=False, loss_weight=0.4).loss_weight == 0.4


class LargestTensor(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() > 0:
                self.numel = max(self.numel, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize(
    ('kind', 'num_classes', 'size', 'limit'),
    [
        # No larger than the statistics themselves, with 20 images of three classes.
        ('full', 10, 16, 10 * 16 * 16),
        ('full', 60, 16, 60 * 16 * 16),
        ('shared', 60, 16, 60 * 16),
        ('diagonal', 60, 16, 60 * 16),
        ('low_rank', 60, 16, 60 * 8 * 16),
    ],
)
def test_the_loss_is_lean(kind, num_classes, size, limit):
    """Guards the memory: never images x classes x features, nor a table of all classes where three are present."""
    images = 20
    assert limit < images * num_classes * size
    loss = dict(type='ISDALoss', covariance=kind, rank=8)
    head = MODELS.build(dict(type='LinearClsHead', num_classes=num_classes, in_channels=size, loss=loss)).train()
    for bound in bind_isda_losses(head).values():
        bound.strength = 1.0
    features = torch.randn(images, size, requires_grad=True)
    labels = torch.randint(4, 7, (images,))
    with LargestTensor() as largest:
        head.loss_module(head.fc(features), labels).backward()
    # The logits and the images' rows of the table are there anyway.
    assert largest.numel <= max(limit, images * num_classes)


def test_logits_that_are_more_than_the_classifier_s_are_refused():
    """Guards a sum of two layers, whose shift would come from the weight of one."""
    network = toy.build(toy.model())
    logits = network.head.fc(torch.randn(8, toy.FEATURES))
    with pytest.raises(RuntimeError, match=r'not what head\.fc makes'):
        network.head.loss_module(logits + logits.roll(1, 0), torch.zeros(8, dtype=torch.long))


def test_mmsegmentation_is_not_needed():
    """Guards an import that goes across the toolkits: here every import of MMSegmentation fails."""
    code = (
        'import importlib.util, sys\n'
        'find = importlib.util.find_spec\n'
        "importlib.util.find_spec = lambda name, *rest: None if name == 'mmseg' else find(name, *rest)\n"
        "sys.modules['mmseg'] = None\n"
        'import mmseg_isda.classification, mmseg_isda.commands.search\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, timeout=120)
