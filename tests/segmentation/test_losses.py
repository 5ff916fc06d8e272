"""ISDASegLoss within the heads of MMSegmentation."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.segmentation import ISDASegLoss
from tests.reference import as_matrices, eq7_map, reduced
from tests.segmentation import toy

ISDA = dict(type='ISDASegLoss')

HEADS = {
    'PSPHead': toy.head('PSPHead', pool_scales=(1, 2)),
    'ASPPHead': toy.head('ASPPHead', dilations=(1, 2)),
    'FCNHead': toy.head('FCNHead'),
    'DepthwiseSeparableASPPHead': toy.head(
        'DepthwiseSeparableASPPHead', dilations=(1, 2), c1_in_channels=8, c1_channels=4
    ),
    'UPerHead': toy.head('UPerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], pool_scales=(1, 2)),
    'SegformerHead': toy.head('SegformerHead', in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3]),
    'SlimASPPHead': toy.head('SlimASPPHead', dilations=(1, 2), branch_channels=4),
}


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
@pytest.mark.parametrize('fused', [False, True])
def test_heads_get_the_loss_of_equation_7(name, fused, augment_at):
    """Guards the tap of each head: the wrong features, dropout left out, or another rule of up-sampling."""
    decode = {**HEADS[name], 'loss_decode': dict(ISDA, augment_at=augment_at, fused=fused), 'dropout_ratio': 0}
    network = toy.build(toy.model(decode=decode, auxiliary=False))
    seen = {}
    network.decode_head.conv_seg.register_forward_hook(lambda module, x, out: seen.update(features=x[0], logits=out))
    data = toy.batch(network)
    losses = network(**data, mode='loss')
    losses['decode.loss_isda'].backward()
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])
    loss, head = network.decode_head.loss_decode, network.decode_head
    flat_labels = F.interpolate(labels[:, None].float(), size=seen['features'].shape[2:])[:, 0].long().flatten()
    assert loss.statistics.count.tolist() == torch.bincount(flat_labels, minlength=256)[: toy.CLASSES].tolist()
    expected = reduced(
        eq7_map(
            seen['logits'].double().detach(),
            labels,
            head.conv_seg.weight.double().flatten(1).detach(),
            as_matrices(loss.statistics.covariance, toy.CLASSES),
            1.5,
            augment_at=augment_at,
            align_corners=head.align_corners,
        ),
        labels,
    )
    assert losses['decode.loss_isda'].item() == pytest.approx(expected.item(), rel=1e-5)
    assert head.conv_seg.weight.grad.isfinite().all() and head.conv_seg.weight.grad.any()


def test_cascade_with_ocr_head():
    """Two stages, each with statistics of its own."""
    stages = [toy.head(in_channels=64), toy.head('OCRHead', ocr_channels=4)]
    config = toy.model(auxiliary=False, num_stages=2)
    config.update(type='CascadeEncoderDecoder', decode_head=stages)
    network = toy.build(config)
    losses = toy.losses(network)
    assert {'decode_0.loss_isda', 'decode_1.loss_isda'} <= set(losses)
    counts = [stage.loss_decode.statistics.count for stage in network.decode_head]
    assert torch.equal(*counts) and counts[0].sum() > 0
    means = [stage.loss_decode.statistics.mean for stage in network.decode_head]
    assert not torch.equal(*means)


def test_lambda_0_of_zero_is_cross_entropy_bit_for_bit():
    """Through a whole PSPHead: loss and every gradient."""
    results = []
    for loss in (dict(ISDA, lambda_0=0, loss_name='loss_ce'), dict(type='CrossEntropyLoss')):
        torch.manual_seed(3)
        network = toy.build(toy.model(loss))
        torch.manual_seed(4)
        losses = toy.losses(network)
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        results.append((losses, [parameter.grad for parameter in network.parameters()]))
    (isda, isda_grads), (plain, plain_grads) = results
    assert torch.equal(isda['decode.loss_ce'], plain['decode.loss_ce'])
    assert torch.equal(isda['aux.loss_ce'], plain['aux.loss_ce'])
    assert all(torch.equal(a, b) for a, b in zip(isda_grads, plain_grads, strict=True))


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('class_weight', [None, [0.5, 1.0, 2.0, 0.1]])
@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('ignored', [False, True])
def test_lambda_0_of_zero_follows_every_option_of_cross_entropy(reduction, class_weight, avg_non_ignore, ignored):
    if class_weight and reduction == 'mean' and (ignored or avg_non_ignore):
        pytest.skip('CrossEntropyLoss of MMSegmentation itself fails on ignored labels with class weights')
    options = dict(reduction=reduction, class_weight=class_weight, avg_non_ignore=avg_non_ignore, loss_weight=0.4)
    init_default_scope('mmseg')
    plain = MODELS.build(dict(type='CrossEntropyLoss', **options))
    isda = MODELS.build(dict(ISDA, lambda_0=0, **options))
    logits, labels = torch.randn(2, 4, 5, 5), torch.randint(0, 4, (2, 5, 5))
    if ignored:
        labels[:, 0] = 255
    for weight, override in [(None, None), (torch.rand(2, 5, 5), None), (None, 'none')]:
        arguments = dict(weight=weight, reduction_override=override, ignore_index=255)
        assert torch.equal(isda(logits, labels, **arguments), plain(logits, labels, **arguments))
    if reduction == 'mean':
        assert torch.equal(
            isda(logits, labels, avg_factor=7.0), plain(logits, labels, avg_factor=7.0, ignore_index=255)
        )


def test_in_a_list_beside_other_losses():
    losses = [dict(ISDA, loss_weight=0.5), dict(type='DiceLoss', loss_weight=2.0), dict(type='CrossEntropyLoss')]
    network = toy.build(toy.model(losses))
    out = toy.losses(network)
    assert {'decode.loss_isda', 'decode.loss_dice', 'decode.loss_ce', 'aux.loss_isda'} <= set(out)
    assert set(dict(network.named_buffers())) >= {
        f'{head}.loss_decode.0.statistics.mean' for head in ('decode_head', 'auxiliary_head')
    }


def test_main_and_auxiliary_head_keep_statistics_of_their_own():
    network = toy.build(toy.model())
    toy.losses(network)
    main, aux = network.decode_head.loss_decode.statistics, network.auxiliary_head.loss_decode.statistics
    assert main.count.sum() > 0 and aux.count.sum() > 0 and not torch.equal(main.mean, aux.mean)


@pytest.mark.parametrize('sampler', [dict(thresh=0.2, min_kept=50), dict(thresh=None, min_kept=50)])
def test_ohem_in_both_modes_updates_the_statistics_once(sampler):
    """Without a threshold the sampler calls the loss a second time in the same iteration."""
    plain, ohem = (
        toy.build(toy.model(auxiliary=False, decode=toy.head('PSPHead', pool_scales=(1, 2), **options)))
        for options in ({}, dict(sampler=dict(type='OHEMPixelSampler', **sampler)))
    )
    ohem.load_state_dict(plain.state_dict())
    outputs = []
    for network in (plain, ohem):
        torch.manual_seed(1)
        outputs.append(toy.losses(network)['decode.loss_isda'])
    outputs[1].backward()
    a, b = (network.decode_head.loss_decode.statistics for network in (plain, ohem))
    assert torch.equal(a.count, b.count) and torch.equal(a.covariance, b.covariance)
    assert outputs[0] != outputs[1]
    assert ohem.decode_head.conv_seg.weight.grad.any()


CHANGES = {
    'MulBackward0': lambda logits, features: 2 * logits,
    'AddBackward0': lambda logits, features: logits + features.mean(1, keepdim=True),
}


def changed(loss, change):
    """A network whose head changes the logits of its classifier."""
    network = toy.build(toy.model(loss, auxiliary=False))
    original = network.decode_head.cls_seg
    network.decode_head.cls_seg = lambda features: change(original(features), features)
    return network


@pytest.mark.parametrize('operation', CHANGES)
def test_a_head_that_changes_its_logits_is_refused(operation):
    """Guards the shift, which would be that of the logits before."""
    network = changed(ISDA, CHANGES[operation])
    with pytest.raises(RuntimeError, match=rf'not what decode_head\.conv_seg makes, but {operation} of it'):
        toy.losses(network)


@pytest.mark.parametrize('operation', CHANGES)
def test_changed_logits_are_not_fused(operation, monkeypatch):
    """Guards the fused pass, which reads what leaves the classifier: it must notice a head that does more."""
    monkeypatch.setattr('mmseg_isda.core.fused.dispatch.should_fuse', lambda *_: True)
    results = []
    for fused in ('auto', False):
        torch.manual_seed(3)
        network = changed(dict(type='FusedCrossEntropyLoss', fused=fused), CHANGES[operation])
        torch.manual_seed(4)
        results.append(toy.losses(network)['decode.loss_ce'])
    assert torch.equal(*results)
    network = changed(dict(type='FusedCrossEntropyLoss', fused=True), CHANGES[operation])
    with pytest.raises(RuntimeError, match=r"not the up-sampled output of decode_head\.conv_seg.*fused='auto'"):
        toy.losses(network)


def test_a_branch_that_starts_at_zero_is_not_lost_by_the_fused_pass(monkeypatch):
    """Guards a check by value: at the first batch the branch adds nothing, later it does."""
    monkeypatch.setattr('mmseg_isda.core.fused.dispatch.should_fuse', lambda *_: True)
    gamma = torch.zeros((), requires_grad=True)
    network = changed(dict(type='FusedCrossEntropyLoss'), lambda logits, x: logits + gamma * x.mean(1, keepdim=True))
    toy.losses(network)['decode.loss_ce'].backward()
    assert gamma.grad is not None


def test_a_head_with_several_classifiers_is_refused():
    """DAHead gives one loss the logits of three classifiers; two would get the shift of a foreign weight."""
    network = toy.build(toy.model(auxiliary=False, decode=toy.head('DAHead', pam_channels=4)))
    with pytest.raises(RuntimeError, match=r'do not come from decode_head\.conv_seg'):
        toy.losses(network)


def test_heads_of_points_are_refused():
    with pytest.raises(ValueError, match=r'needs logits \(N, C, H, W\).*got \(2, 3, 7\)'):
        ISDASegLoss()(torch.zeros(2, 3, 7), torch.zeros(2, 7))


def test_labels_of_another_integer_type():
    loss, logits = ISDASegLoss(lambda_0=0), torch.randn(1, 3, 4, 4)
    labels = torch.randint(0, 3, (1, 4, 4))
    assert torch.equal(loss(logits, labels.to(torch.uint8)), loss(logits, labels))


def test_fused_and_plain_training_agree():
    """Gradients of the whole network, both heads, through either way."""
    results = []
    for fused in (True, False):
        torch.manual_seed(3)
        network = toy.build(toy.model(dict(ISDA, fused=fused)))
        torch.manual_seed(4)
        losses = toy.losses(network)
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        results.append([losses['decode.loss_isda'], *(parameter.grad for parameter in network.parameters())])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_nothing_of_a_batch_outlives_the_loss():
    """Guards the memory: no features are held by the tap or the loss after an iteration."""
    network = toy.build(toy.model())
    toy.losses(network)
    for head in (network.decode_head, network.auxiliary_head):
        assert all(kept.features is None and kept.logits is None for kept in head.loss_decode.tap._passes)
        held = [value for value in vars(head.loss_decode).values() if isinstance(value, torch.Tensor)]
        assert all(tensor.numel() <= toy.CLASSES and tensor.grad_fn is None for tensor in held)


def test_evaluation_is_plain_cross_entropy_and_sees_no_statistics():
    network = toy.build(toy.model())
    network.eval()
    data = toy.batch(network)
    with torch.no_grad():
        loss = network(**data, mode='loss')['decode.loss_isda']
        before = network(**data, mode='tensor')
    assert not network.decode_head.loss_decode.statistics.count.any()
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])
    logits = F.interpolate(before, size=labels.shape[1:], mode='bilinear', align_corners=False)
    expected = F.cross_entropy(logits, labels, reduction='sum', ignore_index=255) / labels.numel()
    torch.testing.assert_close(loss, expected)


def test_a_copy_of_the_network_does_not_disturb_it():
    """Guards EMAHook, whose copy runs beside the network."""
    network = toy.build(toy.model())
    toy.losses(network)
    other = copy.deepcopy(network)
    toy.losses(other)
    counts = [n.decode_head.loss_decode.statistics.count.sum() for n in (network, other)]
    assert counts[1] == 2 * counts[0]


def test_features_that_overflowed_leave_the_loss_usable():
    network = toy.build(toy.model())
    toy.losses(network)
    with torch.no_grad():
        saved = network.decode_head.bottleneck.conv.weight.clone()
        network.decode_head.bottleneck.conv.weight.fill_(float('nan'))
    toy.losses(network)
    with torch.no_grad():
        network.decode_head.bottleneck.conv.weight.copy_(saved)
        network.decode_head.bottleneck.bn.reset_running_stats()
    loss = toy.losses(network)['decode.loss_isda']
    assert loss.isfinite() and network.decode_head.loss_decode.check_iteration()['skipped'] == 1


def test_binary_heads_are_refused():
    with pytest.raises(ValueError, match='single output channel'):
        toy.build(toy.model(auxiliary=False, decode=toy.head(num_classes=2, out_channels=1, threshold=0.5)))


def test_a_label_out_of_range_is_named():
    network = toy.build(toy.model())
    data = toy.batch(network)
    data['data_samples'][0].gt_sem_seg.data[:] = toy.CLASSES
    with pytest.raises(ValueError, match=f'value {toy.CLASSES}, but must lie in'):
        network(**data, mode='loss')


def test_a_wrong_classifier_name_lists_the_candidates():
    init_default_scope('mmseg')
    network = MODELS.build(toy.model(dict(ISDA, classifier='cls_seg'), auxiliary=False))
    with pytest.raises(ValueError, match=r"'cls_seg'.*decode_head\.conv_seg"):
        bind_isda_losses(network)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(augment_at='pixel'), "augment_at must be one of 'feature', 'label', got 'pixel'"),
        (dict(reduction='avg'), 'reduction must be one of'),
        (dict(schedule='cosine'), "schedule must be one of .* got 'cosine'"),
        (dict(lambda_0=-2), 'lambda_0 must lie in'),
        (dict(class_weight=[1.0, float('nan')]), 'class_weight must hold finite numbers, 0 or more'),
        (dict(fused='yes'), "fused must be one of 'auto', True, False, got 'yes'"),
        (dict(use_sigmoid=True), 'use_sigmoid=True asks for a binary cross entropy'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ISDASegLoss(**options)


def test_the_one_line_edit_of_an_inherited_config_works():
    """The base's other options are merged into the new dict: use_sigmoid=False and loss_weight among them."""
    base = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)
    assert ISDASegLoss(**{k: v for k, v in base.items() if k != 'type'}).loss_weight == 0.4


def test_class_weights_from_a_file(tmp_path):
    """Guards the promise that the option is the host's, read without running what a file may hold."""
    np.save(tmp_path / 'weights.npy', np.array([0.5, 2.0]))
    (tmp_path / 'weights.json').write_text('[0.5, 2.0]')
    for path in tmp_path.iterdir():
        assert list(ISDASegLoss(class_weight=str(path)).cross_entropy.class_weight) == [0.5, 2.0]


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match=r"no option 'lamda_0': did you mean 'lambda_0'\? Its options are lambda_0, "):
        ISDASegLoss(lamda_0=5)
