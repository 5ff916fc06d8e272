"""Bind losses to the classifiers whose passes they read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Protocol
from warnings import warn

from torch import nn

from ..core import ClassifierTap
from ..core.tap import is_classifier


class TappedLoss(Protocol):
    """What a loss needs to have to be bound: ``ISDALossBase`` and ``FusedCrossEntropyLoss`` do."""

    classifier: str  # its name within the module that owns the loss
    needs_tap: bool  # whether the loss is to be bound at all
    tap: ClassifierTap | None

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None: ...

    def check_iteration(self) -> dict[str, float]: ...


@cache
def is_tapped_loss(kind: type) -> bool:
    """Whether a class is a loss of this package that reads the passes of a classifier."""
    return all(hasattr(kind, name) for name in ('bind', 'check_iteration', 'needs_tap'))


def tapped_losses(model: nn.Module) -> Iterator[tuple[str, TappedLoss]]:
    """Yield each loss of this package within a model, with its path."""
    for path, module in model.named_modules():
        if is_tapped_loss(type(module)):  # type: ignore[arg-type]
            yield path, module


def bind_isda_losses(model: nn.Module) -> dict[str, TappedLoss]:
    """Bind every ISDA loss within a model to the classifier of the nearest module above it that has one.

    ``ISDAHook`` calls it; call it yourself to use a registered loss without a Runner. Calling it again binds what has
    come in since.

    Args:
        model: any module that contains losses.

    Returns:
        The losses by the name of their owner, or by their own where an owner has several. An ISDA loss with
        ``lambda_0=0`` needs nothing and is left out.

    Raises:
        ValueError: if no module above a loss has its classifier. A model without such a loss is warned of.
        TypeError: if that is neither a linear layer nor a 1x1 convolution.
    """
    modules, losses = dict(model.named_modules()), dict(tapped_losses(model))
    if not losses:
        warn(
            f'{type(model).__name__} holds no ISDA loss to bind. A loss that stands beside its network is no part of '
            f'it: use mmseg_isda.core.ISDACriterion(classifier, lambda_0=...) there',
            stacklevel=2,
        )
    taps = {id(loss.tap.classifier): loss.tap for loss in losses.values() if loss.tap is not None}
    bound: dict[str, TappedLoss] = {}
    for path, loss in losses.items():
        if loss.needs_tap:
            owner, name = _find_classifier(modules, path, loss.classifier)
            classifier = modules[name]
            tap = taps[id(classifier)] = taps.get(id(classifier)) or ClassifierTap(classifier, name)
            loss.bind(tap, modules[owner])
            owner = owner or type(model).__name__
            bound[owner if owner not in bound else path] = loss
    return bound


def _find_classifier(modules: dict[str, nn.Module], path: str, classifier: str) -> tuple[str, str]:
    """Climb from a loss towards the model until a module has the classifier; return the paths of both."""
    owners = [path]
    while owners[-1]:
        owners.append(owners[-1].rpartition('.')[0])
        name = f'{owners[-1]}.{classifier}'.lstrip('.')
        if name in modules:
            return owners[-1], name
    layers = [name for name, module in modules.items() if is_classifier(module)]
    near = ([name for name in layers if name.startswith(f'{owner}.') or not owner] for owner in owners)
    raise ValueError(
        f'no module above the loss {path!r} has a classifier named {classifier!r}. Set classifier=... of the loss '
        f'to the linear layer or 1x1 convolution that makes the logits; such layers are: '
        f'{", ".join(next(filter(None, near), ["none"]))}'
    )
