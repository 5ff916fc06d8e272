"""How far a checkpoint fits a network: what the host would load in part, with no more than a warning."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import CheckpointError
from .reading import read_checkpoint, state_dict_of
from .statistics import find_statistics

FEWEST = 0.1  # part of the names that must match; fewer are chance, such as a bias called alike
# PyTorch's message, which is all that tells of shapes once the host has resized what it can (position embeddings).
_MISFIT = re.compile(r'size mismatch for (\S+): .*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)')
_Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fit:
    """What became of the parameters of a module, and of other tensors in the file but for counters and statistics."""

    matched: int  # parameters that were loaded
    missed: Sequence[str]  # those that the file lacks
    left_over: Sequence[str]  # names that the file has and the module lacks
    misshapen: Mapping[str, tuple[_Shape, _Shape]]  # {name in both: (shape in the file, shape in the module)}

    def __str__(self) -> str:
        shapes = [f'{name}: {there} in the file, {here} in the model' for name, (there, here) in self.misshapen.items()]
        kinds = (('missed', self.missed), ('left over', self.left_over), ('of another shape', shapes))
        counts = [f'{len(names)} {what}' + (f' (first {names[0]})' if names else '') for what, names in kinds]
        return ', '.join([f'{self.matched} weights matched', *counts])

    @property
    def is_exact(self) -> bool:
        """Whether every weight has found its place."""
        return not (self.missed or self.left_over or self.misshapen)

    @property
    def is_chance(self) -> bool:
        """Whether the file is of another network."""
        sides = (len(self.missed), len(self.left_over))
        return self.matched <= FEWEST * (self.matched + len(self.misshapen) + min(sides))

    def inner_misfits(self, path: str = '') -> list[str]:
        """Return names of another shape that are no classifier of another number of classes, in a module at a path."""
        inner = f'{path}.'.startswith(('backbone.', 'neck.'))
        return [
            name
            for name, (there, here) in self.misshapen.items()
            if there[1:] != here[1:] or inner or name.startswith(('backbone.', 'neck.'))
        ]


def check_weights(model: nn.Module, path: str | os.PathLike) -> None:
    """Refuse to score a checkpoint of another network than the model, wrapped or not, or with a part of it alone.

    Raises:
        CheckpointError: if a weight is missing (an auxiliary head may be), or has another shape.
    """
    state = {key.removeprefix('module.'): value for key, value in state_dict_of(read_checkpoint(path), path).items()}
    wanted = {re.sub(r'^(module\.)+', '', key): tuple(value.shape) for key, value in model.named_parameters()}
    there = {key: tuple(value.shape) for key, value in state.items()}
    misshapen = {key: (there[key], here) for key, here in wanted.items() if there.get(key, here) != here}
    missed = [key for key in wanted if key not in there]
    left_over = [key for key in there if key not in wanted]
    fit = Fit(len(wanted) - len(missed) - len(misshapen), missed, left_over, misshapen)
    if fit.is_chance:
        raise CheckpointError(f'{path} is of another network: {fit}')
    if misshapen or any(not key.startswith('auxiliary_head.') for key in missed):
        raise CheckpointError(f'{path} does not fit the model of the config: {fit}')


def watch_fit(module: nn.Module, tell: Callable[[Fit], None]) -> list[RemovableHandle]:
    """Call ``tell`` with how far each set of weights fits that a module loads as a whole; return the hooks on it."""
    loading: list[tuple[Mapping, list[str]]] = []

    def before(state: Mapping, prefix: str, metadata: Any, strict: bool, missing, unexpected, errors) -> None:
        loading[:] = [] if prefix else [(state, errors)]  # a prefix: the module is loaded as a part of another one

    def after(module: nn.Module, incompatible: Any) -> None:
        if loading:
            tell(_fit(module, *loading.pop(), incompatible))

    return [module._register_load_state_dict_pre_hook(before), module.register_load_state_dict_post_hook(after)]


def _fit(module: nn.Module, state: Mapping, errors: list[str], incompatible: Any) -> Fit:
    wanted = [name for name, _ in module.named_parameters()]
    found = [match.groups() for text in errors if (match := _MISFIT.match(text))]
    shapes = {name: tuple(tuple(map(int, re.findall(r'\d+', shape))) for shape in pair) for name, *pair in found}
    misshapen = {name: pair for name, pair in shapes.items() if name in wanted}
    missed = [name for name in wanted if name in incompatible.missing_keys]
    ours = {*find_statistics(state), *(name for name in state if name.endswith('num_batches_tracked'))}
    left_over = [name for name in incompatible.unexpected_keys if name not in ours]
    return Fit(len(wanted) - len(missed) - len(misshapen), missed, left_over, misshapen)
