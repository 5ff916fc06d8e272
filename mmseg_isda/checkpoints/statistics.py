"""Running statistics of ISDA in a state dict: told from weights of like names, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from torch import Tensor

from ..errors import CheckpointError

# What ISDA keeps below its loss, e.g. decode_head.loss_decode.0.statistics.mean or head.loss_module.statistics.mean.
_LOSS = r'(?:loss|losses|loss_\w+|\w+_loss)'
_NAMES = 'count|mean|covariance|factor'  # the last in low-rank statistics alone
_STATISTICS = re.compile(rf'^(?P<owner>(?:.*\.)?{_LOSS}(?:\.[^.]+)*\.statistics)\.(?P<buffer>{_NAMES})$')
_NEEDED = ('count', 'mean', 'covariance')


def find_statistics(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the ISDA statistics in a state dict: below a loss, with all their buffers together."""
    return [key for found in _by_owner(state).values() if not _missing(found) for key in found.values()]


def check_statistics(state: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Refuse statistics from which training would go on wrongly without a word.

    Args:
        state: weights, with or without statistics.
        path: names the file in the error.

    Raises:
        CheckpointError: if a loss has a part of its statistics alone, or one that is not finite. The error names it.
    """
    for owner, found in _by_owner(state).items():
        missing = [f'{owner}.{name}' for name in _missing(found)]
        if missing:
            raise CheckpointError(f'{path} holds half the statistics of an ISDA loss: it lacks {", ".join(missing)}')
        broken = [key for key in found.values() if not bool(state[key].isfinite().all())]
        broken += [key for key in (found['count'],) if bool((state[key] < 0).any())]
        if broken:
            raise CheckpointError(
                f'{path}: the statistics {", ".join(broken)} are no finite numbers (or negative counts); take an older '
                f'checkpoint, or start from its weights alone, which tools/publish_model.py keeps'
            )


def _by_owner(state: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    owners: dict[str, dict[str, str]] = {}
    for key in state:
        if match := _STATISTICS.match(key):
            owners.setdefault(match['owner'], {})[match['buffer']] = key
    return owners


def _missing(found: Mapping[str, str]) -> list[str]:
    return [name for name in _NEEDED if name not in found]
