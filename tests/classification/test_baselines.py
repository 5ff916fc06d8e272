"""The baselines of Table 5, each against its equation written out slowly."""

import math
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmseg_isda.classification.baselines import (
    CenterLossClsHead,
    DistributionNetClsHead,
    DisturbLabelLoss,
    GeneratedImagesPreprocessor,
    LargeMarginClsHead,
    LqLoss,
    SoftmaxFocalLoss,
)
from mmseg_isda.classification.baselines.center_loss import center_distance
from mmseg_isda.classification.baselines.label_losses import disturbed
from mmseg_isda.classification.baselines.large_margin import large_margin_logits
from mmseg_isda.engine import bind_isda_losses
from mmseg_isda.engine.binding import tapped_losses
from mmseg_isda.errors import MissingPathError
from tests.classification import toy
from tests.processes import run_ranks

ROOT = Path(__file__).parents[2]
LOSSES = {
    'LqLoss': dict(q=0.4),
    'SoftmaxFocalLoss': dict(alpha=0.5, gamma=1.0),
    'DisturbLabelLoss': dict(noise_rate=0.5),
}
HEADS = {
    'CenterLossClsHead': dict(center_weight=0.1),
    'LargeMarginClsHead': dict(margin=3),
    'DistributionNetClsHead': dict(num_samples=3),
}


def case(dtype=torch.float64):
    return torch.randn(6, 4, dtype=dtype) * 2, torch.tensor([0, 3, 1, 1, 2, 0])


def probability(logits, labels):
    return [math.exp(z[y]) / sum(math.exp(v) for v in z) for z, y in zip(logits.tolist(), labels.tolist(), strict=True)]


@pytest.mark.parametrize('q', [0.1, 0.4, 1.0])
def test_lq_is_its_equation(q):
    logits, labels = case()
    expected = [(1 - p**q) / q for p in probability(logits, labels)]
    assert LqLoss(q=q, reduction='none')(logits, labels).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(('alpha', 'gamma'), [(0.5, 1.0), (1.0, 2.0), (0.3, 0.0)])
def test_focal_is_its_equation(alpha, gamma):
    logits, labels = case()
    expected = [-alpha * (1 - p) ** gamma * math.log(p) for p in probability(logits, labels)]
    got = SoftmaxFocalLoss(alpha=alpha, gamma=gamma, reduction='none')(logits, labels)
    assert got.tolist() == pytest.approx(expected)


@pytest.mark.parametrize('loss', [LqLoss(), SoftmaxFocalLoss(), SoftmaxFocalLoss(gamma=2.0)])
def test_gradients(loss):
    logits, labels = case()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


@pytest.mark.parametrize('loss', [LqLoss(), SoftmaxFocalLoss()])
def test_extreme_logits_stay_finite(loss):
    """Guards a power of a probability that underflows to 0: its derivative would be infinite."""
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    value = loss(logits, torch.tensor([0, 0]))
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


def test_disturbed_labels_follow_the_distribution():
    """Eq. 2 of its paper: (C - 1) / C alpha of the labels are wrong, all wrong classes alike."""
    labels = torch.full((40000,), 2)
    shares = torch.bincount(disturbed(labels, 4, 0.4), minlength=4) / len(labels)
    assert shares.tolist() == pytest.approx([0.1, 0.1, 0.7, 0.1], abs=0.01)
    assert torch.equal(disturbed(labels, 4, 0.0), labels)


def test_disturbed_labels_are_drawn_anew_in_training_and_never_in_evaluation():
    logits, labels = case()
    loss = DisturbLabelLoss(noise_rate=0.5, reduction='none')
    plain = torch.nn.functional.cross_entropy(logits, labels, reduction='none')
    draws = torch.stack([loss(logits, labels) for _ in range(20)])
    assert len(draws.unique(dim=0)) > 5 and torch.equal(loss.eval()(logits, labels), plain)
    allowed = torch.nn.functional.cross_entropy(
        logits.repeat_interleave(4, 0), torch.arange(4).repeat(6), reduction='none'
    ).view(6, 4)
    assert ((draws.unsqueeze(2) - allowed).abs() < 1e-12).any(2).all()


@pytest.mark.parametrize('name', LOSSES)
def test_reductions_are_those_of_cross_entropy(name):
    """Weights, averages and the factor, from the single values."""
    options = LOSSES[name] | (dict(noise_rate=0.0) if name == 'DisturbLabelLoss' else {})
    loss = MODELS.build(dict(type=name, loss_weight=0.4, **options))
    logits, labels = case()
    each, weight = loss(logits, labels, reduction_override='none'), torch.rand(6)
    assert torch.allclose(loss(logits, labels), each.mean())
    assert torch.allclose(loss(logits, labels, weight=weight, avg_factor=3), (each * weight).sum() / 3)
    assert torch.allclose(loss(logits, labels, reduction_override='sum'), each.sum())


def test_center_distance_is_its_equation():
    features, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 3, 0])
    centers = torch.randn(4, 3, dtype=torch.float64)
    expected = sum(float(((a - centers[y]) ** 2).sum()) for a, y in zip(features, labels, strict=True)) / 5 / 2
    assert center_distance(features, labels, centers).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda a: center_distance(a, labels, centers), features.requires_grad_())


def centre_step(centers, features, labels, rate):
    """The rule of its paper, class by class."""
    moved = centers.clone()
    for label in range(len(centers)):
        rows = features[labels == label]
        moved[label] -= rate * (centers[label] - rows).sum(0) / (1 + len(rows))
    return moved


def images(indices):
    samples = [toy.ToyImages()[i]['data_samples'] for i in indices]
    return samples, torch.cat([sample.gt_label for sample in samples])


def test_centres_follow_their_rule():
    """A class that is absent keeps its centre; evaluation moves none; an overflow leaves no trace."""
    head = CenterLossClsHead(4, 6, center_weight=0.2, center_rate=0.5)
    head.centers.normal_()
    features, (samples, labels) = torch.randn(4, 6, requires_grad=True), images([0, 1, 3, 4])
    before = head.centers.clone()
    losses = head.loss((features,), samples)
    expected = 0.2 * sum((a - before[y]).square().sum() for a, y in zip(features, labels, strict=True)) / 8
    torch.testing.assert_close(losses['loss_center'], expected)
    torch.testing.assert_close(losses['loss'], torch.nn.functional.cross_entropy(head.fc(features), labels))
    torch.testing.assert_close(head.centers, centre_step(before, features.detach(), labels, 0.5))
    assert torch.equal(head.centers[2:], before[2:]) and 'centers' in head.state_dict()
    after = head.centers.clone()
    head.loss((torch.full((4, 6), math.nan),), samples)
    head.eval().loss((features,), samples)
    assert torch.equal(head.centers, after)


def centres(rank: int) -> torch.Tensor:
    head = CenterLossClsHead(4, 6)
    features = torch.arange(48.0).view(8, 6) / 10
    own = slice(0, 3) if rank == 0 else slice(3, 8)
    head.loss((features[own],), images(range(8))[0][own])
    return head.centers.clone()


def test_two_processes_move_the_centres_like_one():
    """Guards a mean of the ranks' steps, which is wrong as the rule divides by 1 + the count."""
    first, second = run_ranks(centres)
    expected = centre_step(torch.zeros(4, 6), torch.arange(48.0).view(8, 6) / 10, images(range(8))[1], 0.5)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, expected)


def psi(theta: float, margin: int) -> float:
    """Eq. 6 of its paper, by the interval that the angle lies in."""
    for k in range(margin):
        if k * math.pi / margin <= theta <= (k + 1) * math.pi / margin:
            return (-1) ** k * math.cos(margin * theta) - 2 * k
    raise AssertionError(theta)


@pytest.mark.parametrize('margin', [1, 2, 3, 4])
@pytest.mark.parametrize('blend', [0.0, 3.0])
def test_large_margin_is_its_equation(margin, blend):
    """Angles over the whole half circle, the other logits untouched."""
    weight = torch.randn(4, 2, dtype=torch.float64)
    angles = torch.linspace(0.01, 3.13, 40, dtype=torch.float64)
    base = torch.atan2(weight[1, 1], weight[1, 0])
    features = 1.7 * torch.stack([(base + angles).cos(), (base + angles).sin()], 1)
    labels = torch.ones(40, dtype=torch.int64)
    got = large_margin_logits(features, weight, labels, margin, blend)
    length = 1.7 * float(weight[1].norm())
    expected = [length * (psi(t, margin) + blend * math.cos(t)) / (1 + blend) for t in angles.tolist()]
    assert got[:, 1].tolist() == pytest.approx(expected)
    torch.testing.assert_close(got[:, [0, 2, 3]], (features @ weight.t())[:, [0, 2, 3]])


@pytest.mark.parametrize('margin', [1, 2, 4])
def test_the_gradient_of_large_margin(margin):
    features, weight = torch.randn(6, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    inputs = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, w: large_margin_logits(a, w, labels, margin, 0.5), inputs)


def test_a_feature_of_zeros_has_no_angle_but_a_finite_gradient():
    features, weight = torch.zeros(1, 5, requires_grad=True), torch.randn(4, 5)
    large_margin_logits(features, weight, torch.tensor([1]), 4).sum().backward()
    assert features.grad.isfinite().all()


def test_the_margin_is_blended_in_over_training_alone():
    head = LargeMarginClsHead(4, 6, margin=4, blend_start=10.0, blend_decay=1.0, blend_min=3.0)
    features, (samples, labels) = torch.randn(4, 6), images(range(4))
    for step in range(4):
        blend = max(3.0, 10.0 / (1 + step))
        logits = large_margin_logits(features, head.fc.weight, labels, 4, blend)
        expected = torch.nn.functional.cross_entropy(logits, labels)
        torch.testing.assert_close(head.loss((features,), samples)['loss'], expected)
    plain = torch.nn.functional.cross_entropy(head.fc(features), labels)
    torch.testing.assert_close(head.eval().loss((features,), samples)['loss'], plain)
    assert head.state_dict()['num_iters'] == 4 and head.fc.bias is None


def test_distribution_net_is_its_equation(monkeypatch):
    """Guards a deviation taken for a variance, and samples that meet the labels of other images."""
    init_default_scope('mmpretrain')
    options = dict(num_samples=2, sample_weight=0.3, entropy_weight=0.5, entropy_margin=2.0)
    head = DistributionNetClsHead(4, 6, loss=dict(type='CrossEntropyLoss'), **options).train()
    torch.nn.init.normal_(head.log_variance.weight)
    features, labels = torch.randn(3, 6), torch.tensor([2, 0, 3])
    samples = [DataSample().set_gt_label(int(label)) for label in labels]
    noise = torch.randn(2, 3, 6)
    monkeypatch.setattr(torch, 'randn', lambda *size, **options: noise)
    losses = head.loss((features,), samples)
    plain, moved, entropies = [], [], []
    for image, (feature, label) in enumerate(zip(features, labels.tolist(), strict=True)):
        deviation = (head.log_variance(feature) / 2).exp()
        plain.append(-head.fc(feature).log_softmax(0)[label])
        moved += [-head.fc(feature + deviation * noise[m, image]).log_softmax(0)[label] for m in range(2)]
        entropies.append(torch.distributions.Normal(0, deviation).entropy().mean())
    torch.testing.assert_close(losses['loss'], torch.stack(plain).mean())
    torch.testing.assert_close(losses['loss_samples'], 0.3 * torch.stack(moved).mean())
    torch.testing.assert_close(losses['loss_entropy'], 0.5 * (2.0 - torch.stack(entropies).mean()))
    assert set(head.eval().loss((features,), samples)) == {'loss'}


def test_a_sixth_of_each_training_batch_is_generated(tmp_path):
    """Guards images that meet the labels of others, a wrong scale, and a generator that is trained or saved."""

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return (labels.float() / 10 + 0 * noise[:, 0] + self.bias).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)

    torch.jit.script(Flat()).save(str(tmp_path / 'generator.pt'))
    options = dict(generator=str(tmp_path / 'generator.pt'), bounds=(0, 1), mean=[10.0] * 3, std=[5.0] * 3)
    preprocessor = GeneratedImagesPreprocessor(**options, latent=3, num_classes=10)
    images = torch.randint(256, (12, 3, 4, 4), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(label) for label in (4, 7, *range(10))]
    trained, plain = (preprocessor(dict(inputs=images, data_samples=samples), training) for training in (True, False))
    torch.testing.assert_close(trained['inputs'][2:], plain['inputs'][2:])
    torch.testing.assert_close(plain['inputs'], (images.float() - 10) / 5)
    for image, label in zip(trained['inputs'][:2], (4, 7), strict=True):
        torch.testing.assert_close(image, torch.full((3, 4, 4), (255 * label / 10 - 10) / 5))
    assert not list(preprocessor.parameters()) and not preprocessor.state_dict()
    with pytest.raises(MissingPathError, match=r'generator .*gone.pt does not exist'):
        preprocessor.generator = str(tmp_path / 'gone.pt')
        preprocessor(dict(inputs=images, data_samples=samples), True)


@pytest.mark.parametrize('name', [*LOSSES, *HEADS, 'LabelSmoothLoss'])
def test_a_network_trains_with_each(name, tmp_path):
    """Through a Runner: the loss goes down."""
    if name in HEADS:
        head = toy.head(dict(type='CrossEntropyLoss')) | dict(type=name, **HEADS[name])
    else:
        options = dict(label_smooth_val=0.1, num_classes=4) if name == 'LabelSmoothLoss' else LOSSES[name]
        head = toy.head(dict(type=name, **options))
    runner = toy.runner(tmp_path, toy.model(head=head), hooks=[], epochs=6, param_scheduler=None)
    runner.train()
    history = runner.message_hub.log_scalars['train/loss']._log_history
    assert history[-6:].mean() < history[:3].mean()


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: LqLoss(q=0), r'q must lie in \(0, 1\], got 0'),
        (lambda: SoftmaxFocalLoss(gamma=0.5), 'gamma must be 0, or a number from 1, got 0.5'),
        (lambda: DisturbLabelLoss(noise_rate=2), r'noise_rate must lie in \[0, 1\], got 2'),
        (lambda: DistributionNetClsHead(4, 6, num_samples=0), 'num_samples must be at least 1, .* got 0'),
        (lambda: GeneratedImagesPreprocessor('a.pt', share=2), r'share must lie in \[0, 1\], got 2'),
        (lambda: LqLoss(reduction='avg'), "reduction must be one of .* got 'avg'"),
        (lambda: CenterLossClsHead(4, 6, center_rate=2), 'center_rate lie in'),
        (lambda: LargeMarginClsHead(4, 6, margin=1.5), 'margin must be a whole number, 1 or more, got 1.5'),
        (lambda: LargeMarginClsHead(4, 6, blend_min=-1), 'must be 0 or more'),
        (lambda: LqLoss()(torch.zeros(2, 3), torch.tensor([0, 5])), 'value 5, but must lie in'),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('name', LOSSES)
def test_soft_targets_are_refused(name):
    with pytest.raises(TypeError, match=f'{name} needs one class for each image'):
        MODELS.build(dict(type=name))(torch.zeros(2, 3), torch.rand(2, 3))


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/cifar/baselines').glob('*.py')), ids=lambda path: path.stem)
def test_every_config_builds_and_takes_a_step(path):
    """Guards options that a base config leaves behind in the loss of another type."""
    init_default_scope('mmpretrain')
    network = MODELS.build(Config.fromfile(path).model).train()
    for loss in bind_isda_losses(network).values() if any(tapped_losses(network)) else ():
        loss.strength = 1.0
    num_classes = 100 if 'cifar100' in path.stem else 10
    assert network.head.fc.out_features == num_classes
    labels = torch.tensor([0, num_classes - 1])
    features = torch.randn(2, network.head.in_channels)
    losses = network.head.loss((features,), [DataSample().set_gt_label(label) for label in labels])
    sum(losses.values()).backward()
    assert network.head.fc.weight.grad.any()


@pytest.mark.parametrize('kind', HEADS)
def test_heads_refuse_soft_targets_and_bad_labels(kind):
    """Guards Mixup, which would end in an AttributeError, and a label beyond the classes, in an IndexError."""
    init_default_scope('mmpretrain')
    head = MODELS.build(dict(type=kind, num_classes=4, in_channels=6, loss=dict(type='CrossEntropyLoss'))).train()
    features = (torch.randn(2, 6),)
    with pytest.raises(TypeError, match=f'{kind} needs one class for each image'):
        head.loss(features, [DataSample().set_gt_score(torch.rand(4)) for _ in range(2)])
    with pytest.raises(ValueError, match='labels hold the value 4'):
        head.loss(features, [DataSample().set_gt_label(label) for label in (1, 4)])
