"""Each method against its equations, written out on their own."""

import copy
import math

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmpretrain.registry import MODELS
from torch import nn

from mmseg_isda.classification.semi import MeanTeacher, PiModel, TemporalEnsembling, VirtualAdversarialTraining
from mmseg_isda.classification.semi import methods as module
from tests.classification.semi.toy import METHODS, batch, student


class Network(nn.Sequential):
    """Logits of (N, 3, 8, 8) images, in float64, with batch norm."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4))
        self.double()

    def logits(self, inputs):
        return self(inputs)


@pytest.fixture
def network():
    return Network()


def views(**options):
    return batch(dtype=torch.float64, **options)


def squares(p, q):
    """Mean over images and classes of squared differences."""
    return sum(float((a - b) ** 2) for a, b in zip(p.flatten(), q.flatten(), strict=True)) / p.numel()


def test_pi_model_compares_two_views_and_trains_both(network):
    """Guards the gradient through both views, and running statistics that see one of them."""
    inputs, samples = views()
    other = copy.deepcopy(network)
    logits = network(inputs['unsup_student'])
    running = copy.deepcopy(network.state_dict())
    term = PiModel()(network, logits, inputs, samples['unsup_student'])
    p, q = (other(inputs[name]).softmax(1) for name in ('unsup_student', 'unsup_teacher'))
    assert float(term.detach()) == pytest.approx(squares(p.detach(), q.detach()), rel=1e-5)
    torch.testing.assert_close(dict(network.state_dict()), dict(running), rtol=0, atol=0)
    expected = torch.autograd.grad((p - q).square().mean(), list(other.parameters()))
    torch.testing.assert_close(torch.autograd.grad(term, list(network.parameters())), expected, rtol=1e-4, atol=1e-7)


def test_temporal_ensembling_averages_by_image_and_corrects_the_start(network):
    """Guards Z, its correction 1 - alpha^t, the first visit without target, and images that are mixed up."""
    method, seen = TemporalEnsembling(num_samples=40, num_classes=4, alpha=0.6), {}
    for epoch in range(4):
        inputs, samples = views(views=1)
        keep = slice(None) if epoch != 1 else slice(0, 7)  # in epoch 1 some images do not come up
        images, data = inputs['unsup_student'][keep], samples['unsup_student'][keep]
        logits = network(images)
        term = method(network, logits, dict(unsup_student=images), data)
        p, expected = logits.softmax(1).detach(), 0.0
        for row, sample in zip(p, data, strict=True):
            earlier = seen.setdefault(sample.sample_idx, [])
            if earlier:
                t = len(earlier)
                z = sum(0.4 * 0.6 ** (t - 1 - i) * q for i, q in enumerate(earlier))
                expected += squares(row, z / (1 - 0.6**t)) / len(p)
            earlier.append(row)
        assert float(term.detach()) == pytest.approx(float(expected), rel=1e-5, abs=1e-12)
        assert (term == 0) == (epoch == 0)
    assert method.num_seen[27] == 3 and method.num_seen[0] == 4 and method.num_seen[1] == 0


def test_temporal_ensembling_trains_the_new_prediction_alone(network):
    """Guards the target as a constant."""
    method = TemporalEnsembling(num_samples=40, num_classes=4)
    inputs, samples = views(views=1)
    for _ in range(2):
        logits = network(inputs['unsup_student'])
        target = logits.detach().softmax(1)
        term = method(network, 2 * logits, inputs, samples['unsup_student'])
    expected = ((2 * logits).softmax(1) - (2 * logits).softmax(1).detach()).square().mean()
    del target
    torch.testing.assert_close(term.double(), expected, atol=1e-6, rtol=1e-5)
    assert not method.average.requires_grad and method.average.grad_fn is None


def test_temporal_ensembling_names_images_beyond_its_memory(network):
    inputs, samples = views(views=1)
    with pytest.raises(ValueError, match=r'sample_idx of the unlabeled images must lie in \[0, 9\), got 0 to 27'):
        TemporalEnsembling(9, 4)(network, network(inputs['unsup_student']), inputs, samples['unsup_student'])
    with pytest.raises(ValueError, match=r'alpha must be in \[0, 1\), got 1'):
        TemporalEnsembling(9, 4, alpha=1)


def test_mean_teacher_follows_its_teacher_without_training_it(network):
    """Guards the target: the other view, the teacher's weights and dropout, no gradient, no trace in batch norm."""
    network.__dict__['teacher'] = Network().eval()  # not a layer
    inputs, samples = views()
    other = copy.deepcopy(network)
    logits = network(inputs['unsup_student'])
    running = copy.deepcopy(network.teacher.state_dict())
    term = MeanTeacher()(network, logits, inputs, samples['unsup_student'])
    target = other.teacher.train()(inputs['unsup_teacher']).softmax(1).detach()
    assert float(term.detach()) == pytest.approx(squares(logits.detach().softmax(1), target), rel=1e-5)
    torch.testing.assert_close(dict(network.teacher.state_dict()), dict(running), rtol=0, atol=0)
    term.backward()
    assert all(parameter.grad is None for parameter in network.teacher.parameters())


def test_vat_finds_the_direction_that_changes_the_prediction_most(network, monkeypatch):
    """Guards power iteration, lengths, KL's order and the passes without trace, by the Hessian written out."""
    inputs, samples = views(views=1, num_unlabeled=3)
    images, start = inputs['unsup_student'], torch.randn_like(inputs['unsup_student'])
    monkeypatch.setattr(module.torch, 'randn_like', lambda x: start)
    monkeypatch.setattr(torch.Tensor, 'float', torch.Tensor.double)  # the truth needs more digits than training
    network.eval()  # each image on its own, so that the Hessian is one matrix an image
    with torch.no_grad():
        target = network(images).softmax(1)
    expected = 0.0
    for image, p, d in zip(images, target, start, strict=True):

        def divergence(r, image=image, p=p):
            q = network((image + r.view_as(image))[None]).log_softmax(1)[0]
            return (p * (p.log() - q)).sum()

        hessian = torch.autograd.functional.hessian(divergence, torch.zeros(192, dtype=torch.float64))
        direction = hessian @ d.flatten()
        expected += float(divergence(2.0 * direction / direction.norm())) / 3
    method = VirtualAdversarialTraining(eps=2.0, xi=1e-4)
    term = method(network, network(images), inputs, samples['unsup_student'])
    assert float(term) == pytest.approx(expected, rel=1e-4)


def test_vat_leaves_no_trace_and_trains_through_the_changed_image_alone():
    """Guards running statistics, the constant p, and parameters' gradients that the power iteration must not touch."""
    network = student('vat')
    inputs, samples = batch(views=1)
    with torch.no_grad():
        logits = network.logits(inputs['unsup_student'])
    running = copy.deepcopy(network.state_dict())
    term = network.method(network, logits.requires_grad_(), inputs, samples['unsup_student'])
    torch.testing.assert_close(dict(network.state_dict()), dict(running), rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in network.parameters())
    term.backward()
    assert logits.grad is None and network.head.fc.weight.grad.abs().sum() > 0 and term > 0


def test_vat_is_computed_in_float32_under_autocast():
    """Guards the tiny step of the finite difference, which vanishes in half precision."""
    network = student('vat', norm=False)
    inputs, samples = batch(views=1)
    logits = network.logits(inputs['unsup_student'])
    torch.manual_seed(1)
    expected = network.method(network, logits, inputs, samples['unsup_student'])
    torch.manual_seed(1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = network.method(network, logits, inputs, samples['unsup_student'])
    torch.testing.assert_close(got, expected)


def test_vat_options_out_of_range_are_named():
    with pytest.raises(ValueError, match='eps and xi must be positive, got 0 and 1e-06'):
        VirtualAdversarialTraining(eps=0)


@pytest.mark.parametrize('method', METHODS)
def test_equal_views_and_a_teacher_alike_want_nothing(method):
    """Guards the sign of each term: it is least where predictions agree."""
    torch.manual_seed(3)
    network = student(method, norm=False)
    inputs, samples = batch()
    inputs['unsup_teacher'] = inputs['unsup_student']
    if method == 'mean-teacher':
        network.attach_teacher(copy.deepcopy(network))
    if method == 'vat':
        network.method.eps = 1e-6
    for _ in range(2):
        term = network.method(network, network.logits(inputs['unsup_student']), inputs, samples['unsup_student'])
    assert 0 <= float(term.detach()) < 1e-9 or math.isclose(float(term.detach()), 0, abs_tol=1e-7)
    assert MODELS.get(METHODS[method]['type']) is type(network.method)
