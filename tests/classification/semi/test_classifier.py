"""The sum of Eq. 19, and what each pass may touch."""

import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmpretrain')

from mmengine.config import ConfigDict
from mmpretrain.registry import MODELS

from mmseg_isda.core import isda_consistency
from tests.classification.semi.toy import CLASSES, METHODS, batch, config, student
from tests.classification.toy import model
from tests.processes import run_ranks

PLAIN = dict(type='CrossEntropyLoss')


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('method', METHODS)
def test_terms_are_those_of_eq_19(method):
    """Guards the weights, and Eq. 15 with the statistics, classifier, lambda and logits that it is about."""
    network = student(method, eta_1=0.5, eta_2=3.0)
    inputs, samples = batch()
    passes = []
    network.head.fc.register_forward_hook(lambda module, args, out: passes.append(out))
    torch.manual_seed(5)
    losses = network.loss(inputs, samples)
    isda, logits = network.head.loss_module, passes[1]  # after the labeled pass
    assert [len(out) for out in passes[:2]] == [6, 10]
    p = logits.detach().softmax(1)
    expected = isda_consistency(logits, p, network.head.fc.weight, isda.statistics, isda.strength)
    torch.testing.assert_close(losses['unsup_loss_isda'], 0.5 * expected)
    if method != 'temporal-ensembling':  # whose first targets are there now
        torch.manual_seed(5)
        term = network.method(network, logits, inputs, samples['unsup_student'])
        torch.testing.assert_close(losses['unsup_loss_consistency'], 3 * term)
    assert losses['unsup_weight'] == 3 and 'sup_loss' in losses
    total(losses).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize('method', METHODS)
def test_statistics_are_those_of_the_labeled_features(method):
    """Guards Sigma against unlabeled features, whatever passes come after the labeled one."""
    network = student(method)
    inputs, samples = batch()
    features = []
    network.head.fc.register_forward_hook(lambda module, args, out: features.append(args[0].detach()))
    network.loss(inputs, samples)
    statistics = network.head.loss_module.statistics
    assert statistics.count.tolist() == [2, 2, 1, 1]
    torch.testing.assert_close(statistics.mean[0], features[0][[0, 4]].mean(0))


@pytest.mark.parametrize('method', METHODS)
def test_without_isda_it_is_the_plain_method(method):
    """Guards the baselines of Table 6: CrossEntropyLoss, eta_1 = 0."""
    network = student(method, PLAIN)
    inputs, samples = batch()
    losses = network.loss(inputs, samples)
    assert set(losses) == {'sup_loss', 'unsup_loss_consistency', 'unsup_weight'}
    logits = network.head(network.extract_feat(inputs['sup']))
    if not network.method.joint_batch:  # otherwise batch norm has seen the unlabeled images too
        torch.testing.assert_close(losses['sup_loss'], F.cross_entropy(logits, torch.arange(6) % CLASSES))


@pytest.mark.parametrize('method', METHODS)
def test_running_statistics_take_one_batch_an_iteration(method):
    """Guards batch norm: labeled and unlabeled images together, or for VAT the labeled ones alone; no further pass."""
    network = student(method)
    inputs, samples = batch()
    norm = copy.deepcopy(network.backbone.bn)
    seen = torch.cat([inputs['sup'], inputs['unsup_student']]) if method != 'vat' else inputs['sup']
    norm(network.backbone.conv1(seen))
    network.loss(inputs, samples)
    torch.testing.assert_close(dict(network.backbone.bn.named_buffers()), dict(norm.named_buffers()))


def test_confidence_leaves_out_images_that_the_network_is_not_sure_of():
    """Guards the mask of Eq. 15, which is a mean over all images."""
    network = student('temporal-ensembling', confidence=1.0)
    assert network.loss(*batch())['unsup_loss_isda'] == 0
    network = student('temporal-ensembling', confidence=0.0)
    assert network.loss(*batch())['unsup_loss_isda'] > 0


def test_lambda_of_zero_adds_nothing():
    """Guards a search over lambda_0 that begins at 0, where there are no statistics."""
    network = student('pi', dict(type='ISDALoss', lambda_0=0))
    assert network.loss(*batch())['unsup_loss_isda'] == 0


def test_validation_is_that_of_the_plain_classifier_and_so_is_the_checkpoint():
    """Guards deployment: no key of the network is renamed."""
    network = student('pi').eval()
    plain = MODELS.build(ConfigDict(model(PLAIN))).eval()
    missing = plain.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert not missing
    images = dict(inputs=[torch.randint(255, (3, 8, 8), dtype=torch.uint8)] * 2)
    got, expected = (net.val_step(images) for net in (network, plain))
    torch.testing.assert_close(got[0].pred_score, expected[0].pred_score)


def _without(name):
    inputs, samples = batch()
    del inputs[name]
    return inputs, samples


def test_batches_without_a_branch_are_named():
    """Guards unlabeled data that are missing, and a loader whose batches the sampler did not make."""
    for name in ('sup', 'unsup_student', 'unsup_teacher'):
        with pytest.raises(ValueError, match=f"a batch has no images of the branch '{name}'"):
            student('pi').loss(*_without(name))
    network = student('pi')
    network.loss(*batch())
    with pytest.raises(ValueError, match='a batch has 5 labeled images, the first one had 6: batch_size'):
        network.loss(*batch(5, 11))


def test_mistakes_in_the_config_are_named():
    with pytest.raises(TypeError, match='but the loss is a CrossEntropyLoss'):
        student('pi', PLAIN, eta_1=1.0).loss(*batch())
    with pytest.raises(RuntimeError, match=r"default_hooks=dict\(mean_teacher=dict\(type='MeanTeacherHook'\)\)"):
        network = student('mean-teacher')
        network._teacher = []
        network.loss(*batch())
    with pytest.raises(ValueError, match='takes no batch augmentations'):
        MODELS.build(ConfigDict(config('pi') | dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=1.0)]))))
    with pytest.raises(TypeError, match='eta_3'):
        student('pi', eta_3=1.0)


def _halves(rank, method, state, inputs, samples, noise):
    """Losses and gradients of one half of the batch, and the state afterwards."""
    network = student(method, norm=False)
    for net in (network, *network._teacher):
        net.load_state_dict(state)
    half = {name: images.chunk(2)[rank] for name, images in inputs.items()}
    data = {name: items[rank * len(items) // 2 :][: len(items) // 2] for name, items in samples.items()}
    torch.randn_like = lambda x: noise.chunk(2)[rank].clone()
    results = []
    for _ in range(2):
        network.zero_grad()
        loss = total(network.loss(half, data))
        loss.backward()
        results.append((float(loss.detach()), [parameter.grad.clone() for parameter in network.parameters()]))
    return results, {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize('method', METHODS)
def test_two_ranks_equal_one_process_on_the_joined_batch(method, monkeypatch):
    """Guards statistics and averages of predictions that a rank keeps for itself. Two iterations."""
    torch.manual_seed(7)
    inputs, samples = batch(8, 8)
    network = student(method, norm=False)
    network._teacher = [copy.deepcopy(network)] if method == 'mean-teacher' else []
    noise, state = torch.randn_like(inputs['unsup_student']), copy.deepcopy(network.state_dict())
    ranks = run_ranks(_halves, method, state, inputs, samples, noise)
    monkeypatch.setattr(torch, 'randn_like', lambda x: noise.clone())
    for step in range(2):
        network.zero_grad()
        loss = total(network.loss(inputs, samples))
        loss.backward()
        (first, a), (second, b) = (results[step] for results, _ in ranks)
        assert (first + second) / 2 == pytest.approx(float(loss.detach()), rel=1e-5)
        mean = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
        torch.testing.assert_close(mean, [parameter.grad for parameter in network.parameters()], rtol=1e-4, atol=1e-6)
    for _, after in ranks:
        torch.testing.assert_close(after, dict(network.state_dict()), rtol=1e-5, atol=1e-6)
