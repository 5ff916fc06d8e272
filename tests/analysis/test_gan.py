"""The small WGAN-GP: its penalty, its steps, and the generator that is written for the reverse mapping."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmseg_isda.analysis.gan import WGAN, SaveGenerator, gradient_penalty, make_critic, save_generator
from mmseg_isda.errors import OptionError


def _model(num_classes: int = 0) -> WGAN:
    preprocessor = dict(type='ImgDataPreprocessor', mean=[127.5], std=[127.5])
    return WGAN(
        latent=5,
        channels=1,
        size=8,
        width=4,
        num_classes=num_classes,
        critic_steps=2,
        data_preprocessor=preprocessor,
    )


def _optimizers(model: WGAN) -> OptimWrapperDict:
    adam = dict(optimizer=dict(type='Adam', lr=1e-2))
    settings = dict(type='WGANOptimizers', optim_wrapper_cfg=dict(generator=adam, critic=adam), paramwise_cfg=None)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(settings)(model)


def _batch() -> dict:
    samples = [DataSample().set_gt_label(label) for label in (0, 2, 1, 0)]
    return dict(inputs=torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8), data_samples=samples)


def test_penalty_is_that_of_autograd_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Jacobian for each image: a norm over the batch, or of the mean gradient, would differ."""
    critic = make_critic(1, 8, 3).double()
    real, fake = torch.rand(3, 1, 8, 8, dtype=torch.float64), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    mix = torch.rand(3, 1, 1, 1, dtype=torch.float64)
    monkeypatch.setattr(torch, 'rand', lambda *size, **options: mix)
    norms = []
    for index in range(3):
        place = ((1 - mix[index]) * real[index] + mix[index] * fake[index])[None]
        jacobian = torch.autograd.functional.jacobian(lambda image: critic(image)[0], place, create_graph=True)
        norms.append(jacobian.square().sum().sqrt())
    written_out = ((torch.stack(norms) - 1) ** 2).mean()
    penalty = gradient_penalty(critic, real, fake)
    assert torch.allclose(penalty, written_out)
    ours, theirs = (torch.autograd.grad(value, critic[0].weight)[0] for value in (penalty, written_out))
    assert torch.allclose(ours, theirs)


def test_penalty_of_a_linear_critic_is_known() -> None:
    """Its gradient is its weight wherever the penalty looks: (|w| - 1)^2."""
    critic = nn.Linear(3, 1, bias=False)
    nn.init.constant_(critic.weight, 2.0)
    penalty = gradient_penalty(lambda images, labels: critic(images)[:, 0], torch.randn(4, 3), torch.randn(4, 3))
    assert torch.isclose(penalty, torch.tensor((12**0.5 - 1) ** 2))


@pytest.mark.parametrize('num_classes', [0, 3])
def test_each_network_is_moved_by_its_own_loss(num_classes: int) -> None:
    """Gradients that the generator's loss leaves in the critic would enter the critic's next step."""
    model = _model(num_classes).train()
    optimizers = _optimizers(model)
    before = [parameter.clone() for parameter in model.generator.parameters()]

    def moved() -> bool:
        return any(not torch.equal(old, new) for old, new in zip(before, model.generator.parameters(), strict=True))

    model.train_step(_batch(), optimizers)
    assert not moved()
    logged = model.train_step(_batch(), optimizers)
    assert moved()
    assert set(logged) == {'distance', 'penalty'} and all(value.isfinite() for value in logged.values())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.critic.parameters())


def test_critic_learns_to_tell_images_apart() -> None:
    """The sign of the loss: real images must score higher than generated ones."""
    model = _model().train()
    model.critic_steps = 10_000
    optimizers, distance = _optimizers(model), Tensor()
    for _ in range(60):
        batch = dict(inputs=torch.full((16, 1, 8, 8), 255, dtype=torch.uint8), data_samples=None)
        distance = model.train_step(batch, optimizers)['distance']
    assert distance > 1


@pytest.mark.parametrize('num_classes', [0, 3])
def test_written_generator_is_the_one_that_was_trained(tmp_path, num_classes: int) -> None:
    """In evaluation mode, for any number of images, without this package."""
    model = _model(num_classes)
    SaveGenerator().after_train(SimpleNamespace(model=model.train(), work_dir=str(tmp_path)))
    assert model.generator.training
    loaded = torch.jit.load(str(tmp_path / 'generator.pt'))
    noise = torch.randn(7, 5)
    inputs = (noise, torch.arange(7) % 3) if num_classes else (noise,)
    made = loaded(*inputs)
    assert made.shape == (7, 1, 8, 8) and made.abs().max() <= 1
    assert torch.allclose(made, model.generator.eval()(*inputs), atol=1e-6)


def test_conditional_generator_reads_the_class(tmp_path) -> None:
    model = _model(3)
    save_generator(model, tmp_path / 'generator.pt')
    noise = torch.randn(1, 5).expand(3, -1)
    made = torch.jit.load(str(tmp_path / 'generator.pt'))(noise, torch.arange(3))
    assert not torch.allclose(made[0], made[1])


@pytest.mark.parametrize('size', [6, 28, 2])
def test_sizes_that_cannot_be_halved_are_refused(size: int) -> None:
    with pytest.raises(OptionError, match=f'size must be 4 times a power of two.*got {size}'):
        WGAN(size=size)
