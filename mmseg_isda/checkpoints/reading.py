"""Checkpoints read without running code: ``weights_only=True`` with the few classes that MMEngine stores."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from ..errors import CheckpointError
from ..files import check_file

try:
    from numpy._core import multiarray
except ImportError:  # numpy < 2
    from numpy.core import multiarray

HISTORY_METHODS = ('min', 'max', 'current', 'mean')
RESUME_ENTRIES = ('meta', 'message_hub')
TORCH_LISTS_NAMES = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6)


def _history_method(owner: Any, name: str) -> Callable:
    """Stands in for ``getattr``, by which MMEngine's log buffers store their four methods, and allows nothing else."""
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def _checkpoint_classes() -> list:
    dtypes = {type(np.dtype(kind)) for kind in ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8')}
    dtypes |= {type(np.dtype('U1')), type(np.dtype('S1'))}
    classes: list = [HistoryBuffer, np.ndarray, np.dtype, slice, *sorted(dtypes, key=str)]
    if not TORCH_LISTS_NAMES:
        return [*classes, multiarray._reconstruct, multiarray.scalar]
    # NumPy 1 and 2 name the same functions differently; a file written under one is read under the other.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        classes += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    return [*classes, (_history_method, 'builtins.getattr')]


def allow_checkpoint_classes() -> None:
    """Lets ``torch.load(..., weights_only=True)`` read what MMEngine writes: log histories and NumPy numbers.

    PyTorch 2.6 and later load nothing but tensors and plain data by default, so that MMEngine 0.10.7 cannot resume.
    The list names no function that could do harm, and stays for the life of the process.
    """
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(_checkpoint_classes())


def read_checkpoint(path: str | os.PathLike) -> dict:
    """Reads a checkpoint of MMEngine, or a bare state dict, onto the CPU.

    Args:
        path: a local file.

    Raises:
        MissingPathError: if there is no such file.
        CheckpointError: if it is no checkpoint, is cut short, or holds pickled code.
    """
    path = check_file(path, 'checkpoint')
    _check_format(path)
    allow_checkpoint_classes()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Detected pickle protocol')
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL ([\w.]+)', str(error))
        reason = f'it names {named[1]}' if named else 'pickled code'
        raise CheckpointError(
            f'{path} holds more than weights and logs ({reason}), which could run code, so it is not '
            f'loaded; ask its author for a file of tensors alone'
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise CheckpointError(f'{path} is damaged or cut short; download it again ({_first_line(error)})') from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{path} must hold a dict of weights, got {type(checkpoint).__name__}')
    return checkpoint


def _check_format(path: Path) -> None:
    with path.open('rb') as file:
        start = file.read(4)
    if start[:2] == b'PK' and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f'{path} is cut short ({path.stat().st_size:,} bytes, its end is missing); copy or download it again'
        )
    # Files of PyTorch are zip archives, or pickles of protocol 2 and later before PyTorch 1.6.
    if start[:2] != b'PK' and start[:1] != b'\x80':
        what = 'is empty' if not start else f'is no checkpoint of PyTorch (it begins with {start!r})'
        raise CheckpointError(f'{path} {what}; name the .pth file that training wrote')


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_resumable(path: str | os.PathLike) -> None:
    """Raises CheckpointError if a checkpoint holds weights but not the state that training needs to go on."""
    missing = [key for key in RESUME_ENTRIES if key not in read_checkpoint(path)]
    if missing:
        raise CheckpointError(
            f'{path} cannot be resumed: it has no {", ".join(missing)} (a published file holds '
            f'weights alone); to start from its weights: --cfg-options load_from={path}'
        )


def state_dict_of(checkpoint: Mapping, path: str | os.PathLike) -> Mapping[str, torch.Tensor]:
    """Returns the weights of a checkpoint.

    Raises:
        CheckpointError: if it has no ``state_dict`` and is none itself.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not (isinstance(state, Mapping) and state and all(isinstance(value, torch.Tensor) for value in state.values())):
        raise CheckpointError(
            f'{path} holds no weights: expected an entry "state_dict" of tensors, got the entries '
            f'{", ".join(sorted(map(str, checkpoint))[:8]) or "(none)"}'
        )
    return state


def check_weights(model: nn.Module, path: str | os.PathLike) -> None:
    """Refuses a checkpoint of another network, which the host would load in part, with no more than a warning.

    Args:
        model: the network, possibly wrapped for test-time augmentation or for several processes.
        path: the checkpoint.

    Raises:
        CheckpointError: if no name, or some shape, does not fit.
    """
    state = {key.removeprefix('module.'): value for key, value in state_dict_of(read_checkpoint(path), path).items()}
    wanted: dict[str, torch.Tensor] = {}
    for key, value in model.named_parameters():
        while key.startswith('module.'):
            key = key.removeprefix('module.')
        wanted[key] = value
    shared = wanted.keys() & state.keys()
    if not shared:
        raise CheckpointError(
            f'{path} is of another network: none of its {len(state)} names is in the model of the '
            f'config ({next(iter(state))!r} there, {next(iter(wanted), None)!r} here)'
        )
    wrong = sorted(key for key in shared if state[key].shape != wanted[key].shape)
    if wrong:
        there, here = tuple(state[wrong[0]].shape), tuple(wanted[wrong[0]].shape)
        raise CheckpointError(
            f'{path} does not fit the model of the config: {len(wrong)} weights have another shape, '
            f'first {wrong[0]}: {there} in the file, {here} in the model'
        )
