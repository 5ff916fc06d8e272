"""A generator and a classifier of images as the two functions that the reverse mapping is made of."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import OptionError
from .collect import passes_of
from .trained import Trained


def load_generator(source: str) -> Callable[[Tensor], Tensor]:
    """Load a generator from a TorchScript file, or import it: ``package.module:name``."""
    if Path(source).is_file():
        try:
            return torch.jit.load(source, map_location='cpu').eval()
        except RuntimeError as error:
            raise OptionError(f'--generator {source} is no TorchScript file: {str(error).splitlines()[0]}') from error
    module, _, name = source.partition(':')
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise OptionError(
            f'--generator {source}: there is no such file, nor such a callable ({error}); name a TorchScript file, '
            f'such as the generator.pt of a WGAN config, or package.module:name'
        ) from error


def check_generator(generator: Callable[[Tensor], Tensor], latent: int, shape: tuple[int, ...], source: str) -> None:
    """Raise OptionError if a generator does not make images of a shape from inputs of a size."""
    try:
        with torch.no_grad():
            made = tuple(generator(torch.randn(2, latent)).shape[1:])
    except (RuntimeError, TypeError) as error:
        raise OptionError(
            f'--generator {source} does not take inputs (N, {latent}): give their size by --latent '
            f'({str(error).strip().splitlines()[-1]})'
        ) from error
    if made != tuple(shape):
        raise OptionError(f'--generator {source} makes images of {made}, but those of the data set are {tuple(shape)}')


@contextmanager
def functions_of(
    trained: Trained, generator: Callable[[Tensor], Tensor], bounds: Sequence[float]
) -> Iterator[tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Freeze both networks on one device, and yield what the mapping is made of.

    It is ``paint``, from inputs of the generator, whose pixels have the ``bounds`` black and white, to images of 0 to
    255, and ``encode``, from images as the network gets them to features (N, A).
    """
    device = trained.classifier.weight.device
    for network in (trained.model, generator):
        if isinstance(network, nn.Module):
            for parameter in network.to(device).parameters():  # TorchScript has no Module.requires_grad_
                parameter.requires_grad_(False)
    low, high = bounds
    with passes_of(trained.classifier) as passed:

        def encode(images: Tensor) -> Tensor:
            trained.model(images, mode='tensor')
            return passed.pop()[0].flatten(1)

        yield lambda inputs: 255 * (generator(inputs) - low) / (high - low), encode


def to_network(trained: Trained, images: Tensor) -> Tensor:
    """Return (N, channels, H, W) images of 0 to 255 as the network gets them."""
    return trained.model.data_preprocessor(dict(inputs=images, data_samples=None), False)['inputs']
