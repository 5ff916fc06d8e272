"""A small WGAN with gradient penalty, for images that the reverse mapping and the generator baseline need."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn

from ..errors import OptionError

SMALLEST = 4  # side of the map that both networks begin or end with


class Conditional(nn.Sequential):
    """Layers whose input is joined by the classes, if it is a conditional network with any, as one-hot channels."""

    def __init__(self, *stages: nn.Module, num_classes: int) -> None:
        super().__init__(*stages)
        self.num_classes = num_classes

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return what the layers make of inputs (N, channels, *spatial) and, in a conditional network, labels (N,)."""
        if labels is not None:
            planes = F.one_hot(labels, self.num_classes).to(inputs.dtype)
            planes = planes.view(*planes.shape, *[1] * (inputs.dim() - 2)).expand(-1, -1, *inputs.shape[2:])
            inputs = torch.cat([inputs, planes], 1)
        return super().forward(inputs)


def make_generator(latent: int, channels: int, size: int, width: int, num_classes: int = 0) -> Conditional:
    """Return a network from noise (N, latent) to images from -1 to 1: up-sampling and 3x3 convolutions.

    ``size`` is the side of the images, 4 times a power of two, and ``width`` the channels of the largest map; there are
    twice as many for each halving.
    """
    widths = widths_of(size, width)[::-1]
    stages: list[nn.Module] = [nn.Linear(latent + num_classes, widths[0] * SMALLEST**2)]
    stages += [nn.Unflatten(1, (widths[0], SMALLEST, SMALLEST)), nn.BatchNorm2d(widths[0])]
    for before, after in pairwise(widths):
        stages += [nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
        stages += [nn.BatchNorm2d(after)]
    stages += [nn.ReLU(), nn.Conv2d(widths[-1], channels, 3, padding=1), nn.Tanh()]
    return Conditional(*stages, num_classes=num_classes)


def make_critic(channels: int, size: int, width: int, num_classes: int = 0) -> Conditional:
    """Return a network from images to (N,) scores; the arguments are those of :func:`make_generator`.

    It has no batch norm, which would tie the images of a batch together under the gradient penalty.
    """
    widths = widths_of(size, width)
    stages: list[nn.Module] = [nn.Conv2d(channels + num_classes, widths[0], 3, padding=1), nn.LeakyReLU(0.2)]
    for before, after in pairwise(widths):
        stages += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    stages += [nn.Flatten(), nn.Linear(widths[-1] * SMALLEST**2, 1), nn.Flatten(0)]
    return Conditional(*stages, num_classes=num_classes)


def widths_of(size: int, width: int) -> list[int]:
    """Return the channels of the maps from the largest to the smallest."""
    doublings = (size // SMALLEST).bit_length() - 1
    if size != SMALLEST << max(doublings, 0):
        raise OptionError(f'size must be 4 times a power of two, such as 8 or 32, got {size}')
    return [width << index for index in range(doublings + 1)]


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Tensor:
    r"""Return the mean of :math:`(\|\nabla_x D(x)\| - 1)^2` at random places between real and generated images.

    I. Gulrajani et al., "Improved training of Wasserstein GANs", 2017, Eq. 3. The critic scores images (N, channels, H,
    W), and labels (N,) of a conditional one.
    """
    mix = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    between = (real + mix * (fake - real)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between, labels).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


@MODELS.register_module()
class WGAN(BaseModel):
    """A Wasserstein GAN with gradient penalty, trained by MMEngine's loops.

    Args:
        latent: size of the noise; 100 in the paper.
        channels: of the images.
        size: side of the images, 4 times a power of two.
        width: channels of the largest maps.
        num_classes: of a conditional GAN, which reads the labels of the images; 0 for an unconditional one.
        penalty: factor of the gradient penalty.
        critic_steps: iterations of the critic for one of the generator.
        data_preprocessor: must bring the images to [-1, 1].
    """

    def __init__(
        self,
        latent: int = 100,
        channels: int = 3,
        size: int = 32,
        width: int = 64,
        num_classes: int = 0,
        penalty: float = 10.0,
        critic_steps: int = 5,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.generator = make_generator(latent, channels, size, width, num_classes)
        self.critic = make_critic(channels, size, width, num_classes)
        self.latent, self.num_classes, self.penalty, self.critic_steps = latent, num_classes, penalty, critic_steps
        self.register_buffer('num_steps', torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor, data_samples: Sequence | None = None, mode: str = 'tensor') -> Tensor:
        """Return as many generated images as there are inputs, of their classes."""
        labels = self._labels(data_samples)
        return self.generator(torch.randn(len(inputs), self.latent, device=inputs.device), labels)

    def _labels(self, data_samples: Sequence | None) -> Tensor | None:
        if not self.num_classes:
            return None
        return torch.cat([sample.gt_label for sample in data_samples]).to(next(self.parameters()).device)

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Train the critic, and every ``critic_steps`` iterations the generator."""
        data = self.data_preprocessor(data, True)
        real, labels = data['inputs'], self._labels(data.get('data_samples'))
        with torch.no_grad():
            fake = self(**data)
        distance = self.critic(real, labels).mean() - self.critic(fake, labels).mean()
        penalty = gradient_penalty(self.critic, real, fake, labels)
        optim_wrapper['critic'].update_params(self.penalty * penalty - distance)
        self.num_steps += 1
        if self.num_steps % self.critic_steps == 0:
            optim_wrapper['generator'].update_params(-self.critic(self(**data), labels).mean())
            optim_wrapper['critic'].zero_grad()  # of what the generator's loss left in the critic
        return dict(distance=distance.detach(), penalty=penalty.detach())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class WGANOptimizers:
    """Build one optimizer wrapper for each network that ``optim_wrapper`` names."""

    def __init__(self, optim_wrapper_cfg: dict[str, dict], paramwise_cfg: dict | None = None) -> None:
        self.settings = {name: value for name, value in optim_wrapper_cfg.items() if isinstance(value, dict)}

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        model = model.module if is_model_wrapper(model) else model
        return OptimWrapperDict(
            **{name: build_optim_wrapper(getattr(model, name), deepcopy(cfg)) for name, cfg in self.settings.items()}
        )


@HOOKS.register_module()
class SaveGenerator(Hook):
    """Write ``generator.pt``, the generator as TorchScript, into the work folder when training ends."""

    def after_train(self, runner) -> None:
        """Trace the generator in evaluation mode."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        save_generator(model, Path(runner.work_dir) / 'generator.pt')


def save_generator(model: WGAN, path: Path) -> None:
    """Write a generator as TorchScript, which the analyses read without this package."""
    generator = deepcopy(model.generator).cpu().eval()
    noise = torch.randn(2, model.latent)
    example = (noise, torch.zeros(2, dtype=torch.int64)) if model.num_classes else (noise,)
    torch.jit.trace(generator, example).save(str(path))
