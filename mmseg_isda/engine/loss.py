"""What the ISDA losses of all toolkits share: the statistics, the strength, and the tie to a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ..core import ClassCovariance, logit_shift, mask_invalid_labels, mean_shift, whole_table
from ..core.labels import raise_invalid_label
from ..core.statistics import KINDS
from .schedule import SCHEDULES
from .tap import ClassifierTap, Tapped, leads_to


def refuse_unknown_options(loss: type, unknown: Mapping[str, Any]) -> None:
    """Names an option of a config that a loss does not have, and the nearest that it has.

    Raises:
        TypeError: if ``unknown`` is not empty.
    """
    if not unknown:
        return
    options = [name for name in signature(loss.__init__).parameters if name not in ('self', 'unknown')]
    name = next(iter(unknown))
    near = get_close_matches(name, options, 1)
    advice = f'did you mean {near[0]!r}? ' if near else ''
    raise TypeError(f'{loss.__name__} has no option {name!r}: {advice}Its options are {", ".join(options)}.')


class ISDALossBase(nn.Module):
    """Base of the registered losses. ``ISDAHook`` calls :meth:`bind` and sets ``strength``.

    Args:
        lambda_0: final strength of the augmentation; 0 turns it off.
        covariance: kind of :class:`~mmseg_isda.core.ClassCovariance`.
        schedule: see :func:`~mmseg_isda.engine.strength_at`.
        sync: pool the statistics over all processes.
        classifier: name of the classifier within the module that owns the loss; dots reach deeper.

    Raises:
        ValueError: if an option is out of range.
    """

    kinds: tuple[str, ...] = KINDS
    is_augmenting = True  # False for a loss that shares the tap alone and has no lambda_0 to set
    plugin = 'mmseg_isda'  # what a config imports to have the loss

    def __init__(self, *, lambda_0: float, covariance: str, schedule: str, sync: bool, classifier: str) -> None:
        super().__init__()
        if not lambda_0 >= 0:
            raise ValueError(f'lambda_0 must be 0 or more, got {lambda_0}')
        if covariance not in self.kinds:
            raise ValueError(f'covariance must be one of {", ".join(map(repr, self.kinds))}, got {covariance!r}')
        if schedule not in SCHEDULES:
            raise ValueError(f'schedule must be one of {", ".join(map(repr, SCHEDULES))}, got {schedule!r}')
        self.lambda_0, self.kind, self.schedule, self.sync = lambda_0, covariance, schedule, sync
        self.classifier = classifier
        self.strength: float | None = lambda_0 if schedule == 'constant' else None
        self.register_module('covariance', None)
        self._tap: ClassifierTap | None = None
        self._taken = 0
        self._count: Tensor | None = None
        self._mean_shift: Tensor | None = None
        self._source: Any = None
        self._suspect_label: tuple[Tensor, int, int] | None = None

    @property
    def tap(self) -> ClassifierTap | None:
        """The tap of the classifier that the loss is tied to."""
        return self._tap

    @property
    def is_bound(self) -> bool:
        return self._tap is not None

    @property
    def augments(self) -> bool:
        """Whether there is anything to augment: with ``lambda_0=0`` no statistics are kept."""
        return self.lambda_0 > 0

    @property
    def needs_tap(self) -> bool:
        """Whether ``ISDAHook`` is to tie the loss to a classifier."""
        return self.augments

    def bind(self, tap: ClassifierTap, owner: nn.Module) -> None:
        """Ties the loss to a classifier and makes its statistics, unless a checkpoint has made them already.

        Args:
            tap: of the classifier.
            owner: the module that owns both.

        Raises:
            ValueError: if statistics that were loaded before have another shape.
        """
        del owner
        if self._tap is tap:
            return
        if self.augments:
            self._make_statistics(tap)
        self._tap = tap
        self._taken = tap.version
        tap.num_consumers += 1

    def _make_statistics(self, tap: ClassifierTap) -> None:
        num_classes, num_features = tap.weight.shape
        if self.covariance is None:
            self.covariance = self._new_statistics(num_classes, num_features)
        elif (self.covariance.num_classes, self.covariance.num_features) != (num_classes, num_features):
            raise ValueError(
                f'the statistics of this loss belong to a classifier of shape '
                f'{(self.covariance.num_classes, self.covariance.num_features)}, but {tap.name} has '
                f'{(num_classes, num_features)}'
            )
        self.covariance.to(tap.weight.device)

    def _new_statistics(self, num_classes: int, num_features: int) -> ClassCovariance:
        return ClassCovariance(num_classes, num_features, self.kind, sync=self.sync)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Makes room for the statistics of a checkpoint if the loss is not bound, so that inference loads quietly."""
        if not self.augments:  # A plain loss that starts from the weights of an ISDA one has no use for them.
            for name in [key for key in state_dict if key.startswith(f'{prefix}covariance.')]:
                del state_dict[name]
        mean = state_dict.get(f'{prefix}covariance.mean')
        if self.covariance is None and mean is not None and mean.dim() == 2:
            self.covariance = self._new_statistics(*mean.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> dict:
        """A copy, as EMAHook makes one, takes no part of a graph along."""
        return {**self.__dict__, '_source': None}

    def _check_ready(self) -> None:
        if not self.is_bound or self.strength is None:
            raise RuntimeError(
                f"{type(self).__name__} is not tied to a classifier: add custom_hooks=[dict(type='ISDAHook')] to the "
                f"config (with custom_imports=dict(imports=['{self.plugin}'])), or train with this project's "
                f'tools/train.py, which adds it. Without an MMEngine Runner call '
                f"mmseg_isda.engine.bind_isda_losses(model) and set the loss's attribute strength."
            )

    def _take_features(self, logits: Tensor) -> Tapped | None:
        """The classifier's pass of this iteration, once: a second call finds the statistics updated and gets None.

        Args:
            logits: what the loss was given, to check that they come from that classifier.

        Raises:
            RuntimeError: if the loss is not bound, its classifier has not run, or the logits are those of another.
        """
        self._check_ready()
        tapped = self._take_once()
        if not leads_to(logits, self._source):
            raise RuntimeError(
                f'the logits given to {type(self).__name__} do not come from {self._tap.name}, whose features and '
                f'weight it uses. Name the module that makes them by classifier=... of the loss. A head with several '
                f'classifiers needs a loss for each; one that gives them all to the same loss cannot be served.'
            )
        return tapped

    def _take_once(self) -> Tapped | None:
        if self._taken == self._tap.version:
            if self._count is None:
                raise RuntimeError(
                    f'{self._tap.name} has not run in training mode before the loss was called, so there are no '
                    f'features to augment. Name the module that makes the logits by classifier=... of the loss.'
                )
            return None
        return self._take_pass()

    def _take_pass(self) -> Tapped:
        self._taken = self._tap.version
        tapped = self._tap.take()
        self._source = tapped.logits.grad_fn
        return tapped

    def _update(self, features: Tensor, labels: Tensor, ignore_index: int) -> None:
        """Takes the batch into the statistics (Eqs. 1 to 3)."""
        self._count = self.covariance.update(features, labels, ignore_index)

    def _shift(self, labels: Tensor | None = None) -> Tensor:
        """(C, C) table of this iteration (Eq. 7), on the CPU with the rows that are needed alone.

        Args:
            labels: what the table will be looked up for, each a class or out of range; by default those of the update.
        """
        weight, covariance = self._tap.weight, self.covariance.covariance
        if weight.device.type != 'cpu':  # To find the classes present would mean to wait for the device.
            shift = logit_shift(weight, covariance, self.strength)
        else:
            count = self._count
            if labels is not None:
                count = torch.bincount(labels.flatten().clamp(0, len(weight)), minlength=len(weight))[: len(weight)]
            classes = count.nonzero().squeeze(1)
            rows = logit_shift(weight, covariance, self.strength, classes=classes)
            shift = whole_table(rows, classes, len(weight))
        self._mean_shift = mean_shift(shift, self._count)
        return shift

    def _guard(self, labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
        """Labels that cannot crash an accelerator; :meth:`check_iteration` names a bad one. On the CPU unchanged."""
        if labels.device.type == 'cpu':
            return labels
        self._raise_suspect()  # of the last call, if no hook has asked since
        labels, suspect = mask_invalid_labels(labels, num_classes, ignore_index)
        self._suspect_label = (suspect, num_classes, ignore_index)
        return labels

    def check_iteration(self) -> dict[str, float]:
        """What the hook asks after an iteration, when waiting for the device costs nothing.

        Returns:
            ``lambda`` (the strength), ``shift`` (mean shift of the wrong classes' logits, in logits) and ``skipped``
            (batches left out so far because a feature was not finite); empty if the loss has not run.

        Raises:
            ValueError: if a label was out of range.
        """
        self._raise_suspect()
        shift, self._mean_shift, self._count, self._source = self._mean_shift, None, None, None
        if self._tap is not None:
            self._tap.drop()
        if shift is None:
            return {}
        return {'lambda': self.strength, 'shift': float(shift), 'skipped': int(self.covariance.num_skipped)}

    def _raise_suspect(self) -> None:
        if self._suspect_label is None:
            return
        suspect, num_classes, ignore_index = self._suspect_label
        self._suspect_label = None
        label = int(suspect)
        if label != ignore_index and not 0 <= label < num_classes:
            raise_invalid_label(label, num_classes, ignore_index)
