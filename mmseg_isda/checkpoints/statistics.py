"""Running statistics of ISDA in a state dict: told from weights of like names, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ..errors import CheckpointError

# What ISDA keeps below its loss, e.g. decode_head.loss_decode.0.statistics.mean or head.loss_module.statistics.mean.
_LOSS = r'(?:loss|losses|loss_\w+|\w+_loss)'
_NAMES = 'count|mean|covariance|factor'  # the last in low-rank statistics alone
_STATISTICS = re.compile(rf'^(?:.*\.)?{_LOSS}(?:\.[^.]+)*\.statistics\.(?:{_NAMES})$')
_NEEDED = ('count', 'mean', 'covariance')


def find_statistics(state: Iterable[str]) -> list[str]:
    """Return the names of the ISDA statistics in a state dict."""
    return [key for key in state if _STATISTICS.match(key)]


def check_statistics(state: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Raise CheckpointError, naming them, for statistics of which a part is missing or not finite."""
    names = find_statistics(state)
    owners = dict.fromkeys(key.rpartition('.')[0] for key in names)
    missing = [f'{owner}.{name}' for owner in owners for name in _NEEDED if f'{owner}.{name}' not in state]
    if missing:
        raise CheckpointError(f'{path} holds half the statistics of an ISDA loss: it lacks {", ".join(missing)}')
    broken = [key for key in names if not bool(state[key].isfinite().all())]
    broken += [f'{owner}.count' for owner in owners if bool((state[f'{owner}.count'] < 0).any())]
    if broken:
        raise CheckpointError(
            f'{path}: the statistics {", ".join(broken)} are no finite numbers (or negative counts); take an older '
            f'checkpoint, or start from its weights alone, which tools/publish_model.py keeps'
        )
