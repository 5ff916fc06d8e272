"""How far a checkpoint fits a network: what the host would load in part, with no more than a warning."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import CheckpointError
from .reading import read_checkpoint, state_dict_of
from .statistics import find_statistics

FEWEST = 0.1  # part of the names that must match; fewer are chance, such as a bias called alike
# PyTorch's message, which is all that tells of shapes once the host has resized what it can (position embeddings).
_MISFIT = re.compile(r'size mismatch for (\S+): .*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)')


@dataclass(frozen=True)
class Fit:
    """What became of the weights of a file, by their names in the module; batch counters and statistics left out.

    Attributes:
        matched: how many were loaded.
        missed: names that the module has and the file lacks.
        left_over: names that the file has and the module lacks.
        misshapen: {name in both: (shape in the file, shape in the module)}.
    """

    matched: int
    missed: Sequence[str]
    left_over: Sequence[str]
    misshapen: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        parts = [f'{self.matched} weights matched']
        kinds = (('missed', self.missed), ('left over', self.left_over), ('of another shape', self._shapes()))
        for what, names in kinds:
            first = f' (first {names[0]})' if names else ''
            parts.append(f'{len(names)} {what}{first}')
        return ', '.join(parts)

    def _shapes(self) -> list[str]:
        return [f'{name}: {there} in the file, {here} in the model' for name, (there, here) in self.misshapen.items()]

    @property
    def is_exact(self) -> bool:
        """Whether every weight has found its place."""
        return not (self.missed or self.left_over or self.misshapen)

    @property
    def is_chance(self) -> bool:
        """Whether the file is of another network."""
        others = len(self.misshapen)
        sides = (self.matched + len(self.missed) + others, self.matched + len(self.left_over) + others)
        return self.matched <= FEWEST * min(sides)

    def inner_misfits(self, path: str = '') -> list[str]:
        """Names of another shape that are no classifier of another number of classes.

        Args:
            path: of the module in the model.
        """
        names = {name: f'{path}.{name}'.lstrip('.') for name in self.misshapen}
        return [
            name
            for name, (there, here) in self.misshapen.items()
            if there[1:] != here[1:] or names[name].startswith(('backbone.', 'neck.'))
        ]


def check_weights(model: nn.Module, path: str | os.PathLike) -> None:
    """Refuse to test a checkpoint of another network, or with a part of this one alone.

    Args:
        model: the network, possibly wrapped for test-time augmentation or for several processes.
        path: the checkpoint.

    Raises:
        CheckpointError: if a weight is missing (an auxiliary head may be), or has another shape.
    """
    state = {key.removeprefix('module.'): value for key, value in state_dict_of(read_checkpoint(path), path).items()}
    wanted = {re.sub(r'^(module\.)+', '', key): value for key, value in model.named_parameters()}
    fit = Fit(
        matched=sum(key in state and state[key].shape == value.shape for key, value in wanted.items()),
        missed=[key for key in wanted if key not in state],
        left_over=[key for key in state if key not in wanted],
        misshapen={
            key: (tuple(state[key].shape), tuple(value.shape))
            for key, value in wanted.items()
            if key in state and state[key].shape != value.shape
        },
    )
    if fit.is_chance:
        raise CheckpointError(f'{path} is of another network: {fit}')
    if fit.misshapen or any(not key.startswith('auxiliary_head.') for key in fit.missed):
        raise CheckpointError(f'{path} does not fit the model of the config: {fit}')


class FitWatch:
    """Tells how far each set of weights fits that a module loads as a whole.

    Args:
        module: network or a part of it.
        tell: is called with every :class:`Fit`.
    """

    def __init__(self, module: nn.Module, tell: Callable[[Fit], None]) -> None:
        self._tell = tell
        self._errors: list[str] | None = None
        self._handles = (
            module._register_load_state_dict_pre_hook(self._before),
            module.register_load_state_dict_post_hook(self._after),
        )

    def remove(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()

    def _before(self, state: Mapping, prefix: str, metadata: Any, strict: bool, missing, unexpected, errors) -> None:
        self._errors = errors if not prefix else None  # a prefix: the module is loaded as a part of another one
        self._ours = set(find_statistics(state))

    def _after(self, module: nn.Module, incompatible: Any) -> None:
        if self._errors is None:
            return
        misfits = [match.groups() for text in self._errors if (match := _MISFIT.match(text))]
        self._errors = None
        wanted = module.state_dict()
        wanted = set(_weights(wanted)) - set(find_statistics(wanted))
        missed = sorted(wanted.intersection(incompatible.missing_keys))
        misshapen = {name: (_shape(there), _shape(here)) for name, there, here in misfits if name in wanted}
        left_over = [name for name in _weights(incompatible.unexpected_keys) if name not in self._ours]
        self._tell(Fit(len(wanted) - len(missed) - len(misshapen), missed, left_over, misshapen))


def _weights(names: Any) -> list[str]:
    return [name for name in names if not name.endswith('num_batches_tracked')]


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(',') if part.strip())
