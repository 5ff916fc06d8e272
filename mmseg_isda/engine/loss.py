"""What the registered ISDA losses share: options, statistics, strength, and the tap of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ..core import ClassCovariance, ClassifierPass, ClassifierTap, devices, mask_invalid_labels, new_statistics
from ..core.checks import check_choice, check_lambda, check_rank
from ..core.cross_entropy import mean_margin
from ..core.labels import count_labels, raise_invalid_label
from ..core.low_rank import COVARIANCES
from .schedule import SCHEDULES


def refuse_unknown_options(loss: type, given: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that a class does not have, and suggest the closest match."""
    options = option_names(loss)
    for name in given:
        if name not in options:
            advice = ''.join(f'did you mean {near!r}? ' for near in get_close_matches(name, options, 1))
            raise TypeError(f'{loss.__name__} has no option {name!r}: {advice}Its options are {", ".join(options)}')


def option_names(kind: type) -> list[str]:
    """Return the options of a class: those of its signature and of the class ``options_from`` that takes the rest."""
    names = [name for name, option in signature(kind).parameters.items() if option.kind is not option.VAR_KEYWORD]
    more = getattr(kind, 'options_from', None)
    return names if more is None else [*names, *option_names(more)]


def drop_statistics(state_dict: dict[str, Tensor], prefix: str) -> None:
    """Remove ISDA statistics from a state dict: a plain loss that starts from ISDA weights has no use for them."""
    for name in [key for key in state_dict if key.startswith(f'{prefix}statistics.')]:
        del state_dict[name]


class LabelGuard:
    """Keep a bad label from ending the process in a device-side assertion, and name it once the device is done."""

    def __init__(self) -> None:
        self._suspect: tuple[Tensor, int, int, str] | None = None

    def __call__(self, labels: Tensor, num_classes: int, ignore_index: int, owner: str) -> Tensor:
        """Return labels that cannot crash an accelerator; on the CPU, where a look-up names a bad one, unchanged."""
        if not devices.waits(labels.device):
            return labels
        self.check()  # of the last call, if no hook has asked since
        labels, suspect = mask_invalid_labels(labels, num_classes, ignore_index)
        self._suspect = (suspect, num_classes, ignore_index, owner)
        return labels

    def check(self) -> None:
        """Raise ValueError if a label of the last call was out of range. Waits for the device."""
        if self._suspect is None:
            return
        suspect, num_classes, ignore_index, owner = self._suspect
        self._suspect = None
        label = int(suspect)
        if label != ignore_index and not 0 <= label < num_classes:
            raise_invalid_label(label, num_classes, ignore_index, owner)


class ISDALossBase(nn.Module):
    """Base of the registered ISDA losses. ``ISDAHook`` binds them to their classifiers and sets ``strength``.

    Args:
        lambda_0: final strength of the augmentation; 0 turns it off.
        covariance: kind of the statistics, see :func:`~mmseg_isda.core.new_statistics`.
        rank: directions that ``covariance='low_rank'`` keeps of each class.
        schedule: see :func:`~mmseg_isda.engine.strength_at`.
        sync: pool the statistics across ranks.
        classifier: name of the classifier within the module that owns the loss; dots reach deeper.

    Raises:
        ValueError: if an option is out of range.
    """

    plugin = 'mmseg_isda'  # Module that a config must import to register the loss.

    def __init__(
        self,
        *,
        lambda_0: float,
        covariance: str,
        classifier: str,
        rank: int = 16,
        schedule: str = 'iter',
        sync: bool = True,
    ) -> None:
        super().__init__()
        check_lambda(lambda_0)
        check_choice('covariance', covariance, COVARIANCES)
        check_choice('schedule', schedule, SCHEDULES)
        check_rank(rank)
        self.lambda_0, self.kind, self.rank, self.schedule = lambda_0, covariance, rank, schedule
        self.classifier = classifier
        self._new_statistics = partial(new_statistics, covariance, rank=rank, sync=sync)
        self.strength: float | None = lambda_0 if schedule == 'constant' else None
        self.tap: ClassifierTap | None = None
        self.statistics: ClassCovariance | None
        self.register_module('statistics', None)
        self.guard = LabelGuard()
        self._updated_by = 0  # number of the pass that the statistics have last taken
        self._mean_shift: Tensor | None = None
        self._mean_margin: Tensor | None = None
        self._ran_in_eval = False

    @property
    def needs_tap(self) -> bool:
        """Whether ``ISDAHook`` is to bind the loss: with ``lambda_0=0`` there is nothing to augment."""
        return self.lambda_0 > 0

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """Bind the loss to the classifier of ``owner`` and make its statistics, unless a checkpoint has made them.

        Raises:
            ValueError: if statistics that were loaded before have another shape.
        """
        if self.tap is tap:
            return
        shape = tuple(tap.weight.shape)
        if self.statistics is None:
            self.statistics = self._new_statistics(*shape)
        elif tuple(self.statistics.mean.shape) != shape:
            raise ValueError(
                f'the statistics of this loss belong to a classifier of shape {tuple(self.statistics.mean.shape)}, but '
                f'{tap.name} has {shape}'
            )
        self.statistics.to(tap.weight.device)
        self.tap = tap
        self._updated_by = 0
        tap.num_consumers += 1

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Make room for the statistics of a checkpoint if the loss is not bound, so that inference loads quietly."""
        if not self.needs_tap:
            drop_statistics(state_dict, prefix)
        mean = state_dict.get(f'{prefix}statistics.mean')
        if self.statistics is None and mean is not None and mean.dim() == 2:
            self.statistics = self._new_statistics(*mean.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def is_augmenting(self, logits: Tensor) -> bool:
        """Whether a call with these logits augments: in training, with gradients.

        Raises:
            RuntimeError: if it should, but the loss is not bound.
        """
        if not self.needs_tap or not torch.is_grad_enabled():
            return False
        if not self.training:
            self._ran_in_eval = self._ran_in_eval or logits.requires_grad
            return False
        if self.tap is None or self.strength is None:
            raise RuntimeError(
                f'{type(self).__name__} is not bound to a classifier: add '
                f"default_hooks=dict(isda=dict(type='ISDAHook')) to the config (with "
                f"custom_imports=dict(imports=['{self.plugin}'])), or train with this project's tools/train.py, which "
                f'adds it. Without an MMEngine Runner call mmseg_isda.engine.bind_isda_losses(model) and set the '
                f"loss's attribute strength"
            )
        return True

    def update(self, found: ClassifierPass, labels: Tensor, ignore_index: int) -> Tensor:
        """Take a pass into the statistics (Eqs. 1 to 3), once, and return (C,) int64, the labels of each class.

        Args:
            found: the pass; a second call with it only counts.
            labels: (N, *spatial) at the size of its features.
            ignore_index: label to leave out.
        """
        if found.number == self._updated_by:
            return count_labels(labels, self.statistics.num_classes, ignore_index)
        count = self.statistics.update(found.features, labels, ignore_index)
        logits = found.logits.reshape(*found.logits.shape[:2], *labels.shape[1:])
        self._mean_margin = mean_margin(logits, labels, ignore_index)
        self._updated_by = found.number
        return count

    def check_iteration(self) -> dict[str, float]:
        """Report an iteration to the hook, when waiting for the device costs nothing.

        Returns:
            ``lambda``, ``shift`` (mean shift of the wrong classes' logits), ``margin`` (mean margin of the plain
            logits), ``skipped`` (batches left out of the statistics so far); only ``eval`` if it was called in eval
            mode with gradients; empty if the loss has not run.

        Raises:
            ValueError: if a label was out of range.
        """
        self.guard.check()
        shift, self._mean_shift = self._mean_shift, None
        ran_in_eval, self._ran_in_eval = self._ran_in_eval, False
        if self.tap is not None:
            self.tap.drop()
        if ran_in_eval:
            return {'eval': True}
        if shift is None:
            return {}
        found = (shift, self._mean_margin, self.statistics.num_skipped)
        shift, margin, skipped = torch.stack([value.float() for value in found]).tolist()  # one wait for all
        return {'lambda': self.strength, 'shift': shift, 'margin': margin, 'skipped': int(skipped)}
