"""Heads that leave the up-sampling and the accuracy to the fused pass, and the fused cross entropy."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_isda.commands.loading import set_options
from mmseg_isda.segmentation import FusedCrossEntropyLoss, ISDASegLoss
from tests.segmentation import toy

HEADS = {
    'PSPHead': toy.head('PSPHead', pool_scales=(1, 2)),
    'FCNHead': toy.head('FCNHead'),
    'ASPPHead': toy.head('ASPPHead', dilations=(1, 2)),
    'SlimASPPHead': toy.head('SlimASPPHead', dilations=(1, 2), branch_channels=4),
    'DepthwiseSeparableASPPHead': toy.head(
        'DepthwiseSeparableASPPHead', dilations=(1, 2), c1_in_channels=8, c1_channels=4
    ),
    'DepthwiseSeparableFCNHead': toy.head('DepthwiseSeparableFCNHead', num_convs=1, concat_input=False),
    'UPerHead': toy.head('UPerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], pool_scales=(1, 2)),
    'SegformerHead': toy.head('SegformerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3]),
}
LOSSES = {
    'feature': dict(type='ISDASegLoss', augment_at='feature', loss_name='loss'),
    'label': dict(type='ISDASegLoss', augment_at='label', loss_name='loss'),
    'full': dict(type='ISDASegLoss', covariance='full', loss_name='loss'),
    'cross entropy': dict(type='FusedCrossEntropyLoss', loss_name='loss'),
}


def trained(head, loss, **options):
    """Losses and gradients of one step of a network with this head."""
    torch.manual_seed(3)
    decode = {**head, 'loss_decode': loss, 'dropout_ratio': 0, **options}
    network = toy.build(toy.model(decode=decode, auxiliary=False))
    losses = toy.losses(network)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return network, losses, {name: p.grad for name, p in network.named_parameters()}


def count_passes(monkeypatch):
    """How often the heads took the pass at feature size."""
    calls = []
    for kind in (ISDASegLoss, FusedCrossEntropyLoss):

        def spy(self, *args, original=kind.at_feature_size, **options):
            calls.append(type(self).__name__)
            return original(self, *args, **options)

        monkeypatch.setattr(kind, 'at_feature_size', spy)
    return calls


@pytest.mark.parametrize('name', HEADS)
def test_every_head_of_the_host_has_its_fused_twin_with_the_same_weights(name):
    """Guards checkpoints: one of a fused head must load in the host's head, key by key."""
    init_default_scope('mmseg')
    plain = MODELS.build(copy.deepcopy(HEADS[name] | dict(loss_decode=dict(type='CrossEntropyLoss'))))
    fused = MODELS.build(copy.deepcopy(HEADS[name] | dict(type=f'Fused{name}')))
    assert isinstance(fused, type(plain))
    shapes = [{key: value.shape for key, value in head.state_dict().items()} for head in (plain, fused)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('name', HEADS)
def test_loss_gradients_and_accuracy_are_the_host_s(name, loss, monkeypatch):
    """Guards the whole way against the unfused one: the loss, acc_seg and the gradient of every weight."""
    calls = count_passes(monkeypatch)
    _, expected, gradients = trained(HEADS[name], dict(LOSSES[loss], fused=False))
    assert not calls
    _, got, fused_gradients = trained(HEADS[name], dict(LOSSES[loss], fused=True), type=f'Fused{name}')
    assert len(calls) == 1
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key].shape == value.shape, key
        torch.testing.assert_close(got[key], value, rtol=2e-6, atol=2e-6)
    for key, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[key], gradient, rtol=1e-3, atol=2e-6, msg=key)


def test_statistics_are_those_of_the_plain_head():
    plain, _, _ = trained(HEADS['PSPHead'], dict(LOSSES['feature'], fused=False))
    fused, _, _ = trained(HEADS['PSPHead'], dict(LOSSES['feature'], fused=True), type='FusedPSPHead')
    for a, b in zip(plain.decode_head.loss_decode.buffers(), fused.decode_head.loss_decode.buffers(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    'options',
    [
        dict(loss_decode=[dict(LOSSES['feature'], fused=True), dict(type='CrossEntropyLoss')]),
        dict(loss_decode=dict(LOSSES['feature'], fused=False)),
        dict(
            loss_decode=dict(LOSSES['feature'], fused=True),
            sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10),
        ),
        dict(loss_decode=dict(type='CrossEntropyLoss')),
    ],
    ids=['two losses', 'fused=False', 'OHEM', 'loss of the host'],
)
def test_what_needs_the_host_s_logits_gets_them(options, monkeypatch):
    """Guards samplers and losses beside ours, which read the up-sampled logits."""
    calls = count_passes(monkeypatch)
    _, losses, _ = trained(HEADS['FCNHead'], None, type='FusedFCNHead', **options)
    assert not calls
    assert {'decode.acc_seg'} < losses.keys() and all(value.isfinite().all() for value in losses.values())


def test_a_list_of_one_loss_is_fused(monkeypatch):
    calls = count_passes(monkeypatch)
    trained(HEADS['FCNHead'], [dict(LOSSES['feature'], fused=True)], type='FusedFCNHead')
    assert calls == ['ISDASegLoss']


@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.1]])
@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('fused', [True, False])
def test_fused_cross_entropy_is_cross_entropy(fused, reduction, avg_non_ignore, class_weight):
    """In a head of the host, through the tap; the truth is PyTorch's cross entropy in float64."""
    options = dict(reduction=reduction, avg_non_ignore=avg_non_ignore, class_weight=class_weight)
    loss = dict(type='FusedCrossEntropyLoss', fused=fused, **options)
    torch.manual_seed(3)
    network = toy.build(toy.model(decode={**HEADS['FCNHead'], 'loss_decode': loss}, auxiliary=False))
    seen = {}
    network.decode_head.conv_seg.register_forward_hook(lambda module, x, out: seen.update(logits=out))
    data = toy.batch(network)
    got = network(**data, mode='loss')['decode.loss_ce']
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])
    up = torch.nn.functional.interpolate(seen['logits'].double(), size=labels.shape[1:], mode='bilinear')
    weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    each = torch.nn.functional.cross_entropy(up, labels, weight, ignore_index=255, reduction='none')
    valid = labels != 255
    divisor = valid.sum() if avg_non_ignore else valid.numel()
    if weight is not None:
        divisor = weight[labels[valid]].sum()
    expected = {'mean': each.sum() / divisor, 'sum': each.sum(), 'none': each}[reduction]
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


def test_fused_cross_entropy_without_a_hook_is_plain_and_says_nothing():
    """Guards a baseline whose config lacks the hook: slower, never wrong, never an error."""
    loss = FusedCrossEntropyLoss()
    logits = torch.randn(2, 4, 8, 8, requires_grad=True)
    labels = torch.randint(0, 4, (2, 8, 8))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_fused_cross_entropy_keeps_no_statistics():
    network, _, _ = trained(HEADS['FCNHead'], dict(type='FusedCrossEntropyLoss'))
    assert not list(network.decode_head.loss_decode.buffers())


def test_two_calls_in_one_iteration(monkeypatch):
    """Guards OHEM by loss, which calls each loss twice: the second finds the classifier's pass taken."""
    sampler = dict(type='OHEMPixelSampler', min_kept=10)
    loss = dict(type='FusedCrossEntropyLoss', fused=True)
    _, losses, _ = trained(HEADS['FCNHead'], loss, sampler=sampler)
    assert losses['decode.loss_ce'].isfinite().all()


def test_training_through_a_runner_equals_the_host_s_head(tmp_path):
    """Guards the hook, the binding and the release of the tap over several iterations."""
    weights = []
    for kind, loss in (
        ('FCNHead', dict(type='CrossEntropyLoss')),
        ('FusedFCNHead', dict(type='FusedCrossEntropyLoss', fused=True)),
    ):
        config = toy.model(
            decode={**HEADS['FCNHead'], 'type': kind, 'loss_decode': loss, 'dropout_ratio': 0}, auxiliary=False
        )
        runner = toy.runner(tmp_path / kind, config, iters=3)
        runner.train()
        weights.append(runner.model.decode_head.conv_seg.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


def test_an_option_that_is_not_there_is_named():
    with pytest.raises(TypeError, match=r"no option 'loss_weigth': did you mean 'loss_weight'"):
        FusedCrossEntropyLoss(loss_weigth=1)
    with pytest.raises(ValueError, match='use_sigmoid=True asks for a binary cross entropy'):
        FusedCrossEntropyLoss(use_sigmoid=True)


@pytest.mark.parametrize('fused', [0, 1, 'yes', None])
def test_fused_is_auto_true_or_false(fused):
    """Guards 1, which equals True but is not it, and would quietly mean False."""
    with pytest.raises(ValueError, match="fused must be one of 'auto', True, False"):
        FusedCrossEntropyLoss(fused=fused)


@pytest.mark.parametrize('kind', ['diagonal', 'full'])
@pytest.mark.parametrize('plain', [dict(type='FusedCrossEntropyLoss'), dict(type='ISDASegLoss', lambda_0=0)])
def test_a_plain_loss_takes_the_weights_of_an_isda_network_without_its_statistics(kind, plain):
    """Guards a baseline that is fine-tuned from ISDA weights: no error about shapes, no dead statistics kept."""
    source, _, _ = trained(HEADS['FCNHead'], dict(type='ISDASegLoss', covariance=kind))
    target = toy.build(toy.model(decode={**HEADS['FCNHead'], 'loss_decode': plain}, auxiliary=False))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.decode_head.conv_seg.weight, source.decode_head.conv_seg.weight)
    assert not any('statistics' in name for name in target.state_dict())


def test_a_repeated_pass_of_the_classifier_is_not_kept(tmp_path):
    """Guards the memory under gradient checkpointing, whose second pass no loss takes."""
    network, _, _ = trained(HEADS['FCNHead'], dict(type='FusedCrossEntropyLoss', fused=True))
    loss = network.decode_head.loss_decode
    network.decode_head.conv_seg(torch.randn(1, 8, 4, 4))
    loss.check_iteration()
    assert not loss.tap._passes


def test_a_search_of_lambda_0_leaves_the_fused_cross_entropy_alone():
    """Guards a network with one head of each: FusedCrossEntropyLoss has no lambda_0 to set."""
    losses = [dict(type='ISDASegLoss'), dict(type='FusedCrossEntropyLoss')]
    cfg = Config(dict(default_scope='mmseg', model=dict(heads=[dict(loss_decode=loss) for loss in losses])))
    set_options(cfg, {'lambda_0': 2.5})
    assert [head.loss_decode.get('lambda_0') for head in cfg.model.heads] == [2.5, None]
