"""A checkpoint made ready to be given away: weights and what describes them, nothing of training."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import CheckpointError, OptionError
from ..files import move_into_place, save_tensors, sha256_of, temporary_beside
from .reading import read_checkpoint, state_dict_of
from .statistics import find_statistics

HASH_LENGTH = 8


@dataclass(frozen=True)
class Published:
    """What :func:`publish_checkpoint` wrote, and the names of what it left out."""

    path: Path
    dropped_entries: tuple[str, ...]
    dropped_statistics: tuple[str, ...]


def plain_data(value: Any) -> Any:
    """Copy nested plain data with NumPy's numbers and arrays as Python's, so that every torch.load reads it."""
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(plain_data(item) for item in value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if value is None or isinstance(value, (str, bytes, bool, int, float, Tensor)):
        return value
    raise CheckpointError(f'meta must hold plain data only, got {type(value).__name__}')


def publish_checkpoint(source: str | os.PathLike, target: str | os.PathLike, *, force: bool = False) -> Published:
    """Write the weights of a training checkpoint, and its meta data, to ``<target>-<8 of its SHA-256>.pth``.

    Optimizer, schedulers, message hub, hook messages, a second set of weights (EMAHook stores the averaged ones as
    ``state_dict``) and the ISDA statistics stay behind. The file holds CPU tensors and plain data alone.

    Raises:
        MissingPathError: if there is no ``source``.
        CheckpointError: if it is no checkpoint of MMEngine, is damaged or holds code.
        ExistingPathError: if the file exists and ``force`` is not given.
    """
    checkpoint = read_checkpoint(source)
    state = state_dict_of(checkpoint, source)
    statistics = find_statistics(state)
    target = Path(target)
    if target.is_dir():
        raise OptionError(f'OUT {target} is a folder; name a file in it, e.g. {target / Path(source).name}')
    meta = {key: plain_data(value) for key, value in checkpoint.get('meta', {}).items() if key != 'hook_msgs'}
    published = {'meta': meta, 'state_dict': _copy_state(state, set(statistics))}
    with temporary_beside(target) as temporary:
        save_tensors(published, temporary)
        path = target.with_name(f'{target.name.removesuffix(".pth")}-{sha256_of(temporary)[:HASH_LENGTH]}.pth')
        move_into_place(temporary, path, force)
    entries = sorted(str(key) for key in checkpoint if key not in published) if 'state_dict' in checkpoint else []
    return Published(path, tuple(entries), tuple(statistics))


def _copy_state(state: Mapping[str, Tensor], without: set[str]) -> OrderedDict[str, Tensor]:
    # clone(): a view would take the whole of its storage along.
    kept = OrderedDict((key, value.detach().cpu().clone()) for key, value in state.items() if key not in without)
    metadata = getattr(state, '_metadata', None)
    if metadata is not None:
        gone = {key.rpartition('.')[0] for key in without}
        kept._metadata = OrderedDict((key, value) for key, value in metadata.items() if key not in gone)
    return kept
