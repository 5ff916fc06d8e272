"""Checkpoints read without running code: ``weights_only=True`` with the few classes that MMEngine stores."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from ..errors import CheckpointError
from ..files import check_file, first_line
from .statistics import check_statistics

try:
    from numpy._core import multiarray
except ImportError:  # numpy < 2
    from numpy.core import multiarray

HISTORY_METHODS = ('min', 'max', 'current', 'mean')
RESUME_ENTRIES = ('meta', 'message_hub')
TORCH_LISTS_NAMES = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6)
EXPANDED_BYTES = 1 << 30  # what views such as `expand` may claim beyond the numbers that a file holds


def _history_method(owner: Any, name: str) -> Callable:
    """Stand in for ``getattr``, by which MMEngine's log buffers store their four methods, and allow nothing else."""
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def _checkpoint_classes() -> list:
    kinds = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'U1', 'S1')
    dtypes = {type(np.dtype(kind)) for kind in kinds}
    classes: list = [HistoryBuffer, np.ndarray, np.dtype, slice, *sorted(dtypes, key=str)]
    if not TORCH_LISTS_NAMES:
        return [*classes, multiarray._reconstruct, multiarray.scalar]
    # NumPy 1 and 2 name the same functions differently; a file written under one is read under the other.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        classes += [(multiarray._reconstruct, f'{module}._reconstruct'), (multiarray.scalar, f'{module}.scalar')]
    return [*classes, (_history_method, 'builtins.getattr')]


def allow_checkpoint_classes() -> None:
    """Let ``torch.load(..., weights_only=True)`` read what MMEngine writes: log histories and NumPy numbers.

    Without it MMEngine 0.10.7 cannot resume on PyTorch 2.6 and later. The list names no function that could do harm,
    and stays for the life of the process.
    """
    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(_checkpoint_classes())


def read_checkpoint(path: str | os.PathLike) -> Mapping:
    """Read a local checkpoint of MMEngine, or a bare state dict, onto the CPU, and check all of its bytes.

    Raises:
        MissingPathError: if there is no such file.
        CheckpointError: if it is no checkpoint, is damaged, unpacks to more than it is, or holds pickled code.
    """
    path = check_file(path, 'checkpoint')
    with path.open('rb') as file:
        return read_stream(file, str(path))


def read_stream(file: BinaryIO, name: str) -> Mapping:
    """Read a checkpoint from an open file; see :func:`read_checkpoint`. ``name`` is for the errors."""
    start = file.read(4)
    # Files of PyTorch are zip archives, or pickles of protocol 2 and later before PyTorch 1.6.
    if start[:2] != b'PK' and start[:1] != b'\x80':
        what = 'is empty' if not start else f'is no checkpoint of PyTorch (it begins with {start!r})'
        raise CheckpointError(f'{name} {what}; name the .pth file that training wrote')
    if start[:2] == b'PK':
        _check_archive(file, name)
    file.seek(0)
    return _load(file, name)


def peek_checkpoint(path: str | os.PathLike) -> Mapping:
    """Read a checkpoint without its tensors where its format allows; see :func:`read_checkpoint`. Nothing is verified.

    The tensors are mapped: read none of them.
    """
    path = check_file(path, 'checkpoint')
    try:
        return _load(str(path), str(path), mmap=True)
    except CheckpointError:  # files of before PyTorch 1.6 cannot be mapped; a damaged one is found so again
        return read_checkpoint(path)


def seed_of(checkpoint: Mapping) -> int | None:
    """Return the seed that a checkpoint was trained with; None if it does not say."""
    meta = checkpoint.get('meta')
    return meta.get('seed') if isinstance(meta, Mapping) else None


def _load(file: BinaryIO | str, name: str, **options: Any) -> Mapping:
    allow_checkpoint_classes()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='Detected pickle protocol')
            checkpoint = torch.load(file, map_location='cpu', weights_only=True, **options)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL ([\w.]+)', str(error))
        reason = f'it names {named[1]}' if named else 'pickled code'
        raise CheckpointError(
            f'{name} holds more than weights and logs ({reason}), which could run code, so it is not loaded; if you '
            f'trust its author, keep the weights alone, in the program that wrote it: '
            f"torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pth')"
        ) from error
    except Exception as error:  # whatever a broken or malicious file makes its reader raise
        raise CheckpointError(f'{name} is damaged or cut short; download it again ({first_line(error)})') from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{name} must hold a dict of weights, got {type(checkpoint).__name__}')
    return checkpoint


def _check_archive(file: BinaryIO, name: str) -> None:
    """Check what PyTorch's own reader does not: the checksums, and that nothing is compressed."""
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            changed = archive.testzip() if unpacked <= size else None
    except Exception as error:
        file.seek(max(0, size - (1 << 16)))
        state = 'damaged' if b'PK\5\6' in file.read() else 'cut short'  # the signature of an archive's end
        raise CheckpointError(
            f'{name} is {state} ({size:,} bytes; {first_line(error)}); copy or download it again'
        ) from error
    if unpacked > size:
        raise CheckpointError(
            f'{name} ({size:,} bytes) unpacks to {unpacked:,} bytes; files of PyTorch are not compressed, this is a '
            f'decompression bomb or no checkpoint'
        )
    if changed:
        raise CheckpointError(
            f'{name} is damaged: {changed} in it has changed since it was written (checksum); copy or download it again'
        )


def check_resumable(path: str | os.PathLike) -> None:
    """Raise CheckpointError if a checkpoint lacks some of the state that training needs to go on."""
    checkpoint = read_checkpoint(path)
    missing = [key for key in RESUME_ENTRIES if key not in checkpoint]
    if missing:
        raise CheckpointError(
            f'{path} cannot be resumed: it has no {", ".join(missing)} (a published file holds '
            f'weights alone); to start from its weights: --cfg-options load_from={path}'
        )
    check_statistics(state_dict_of(checkpoint, path), path)


def state_dict_of(checkpoint: Mapping, path: str | os.PathLike) -> Mapping[str, Tensor]:
    """Return the weights of a checkpoint.

    Raises:
        CheckpointError: if it has no ``state_dict`` and is none itself, or if one is no plain tensor of numbers.
    """
    state = checkpoint.get('state_dict', checkpoint)
    tensors = isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())
    if not (tensors and state and all(isinstance(key, str) for key in state)):
        raise CheckpointError(
            f'{path} holds no weights: expected an entry "state_dict" of tensors, got the entries '
            f'{", ".join(sorted(map(str, checkpoint))[:8]) or "(none)"}'
        )
    odd = [key for key, value in state.items() if value.layout != torch.strided or value.device.type != 'cpu']
    if odd:
        raise CheckpointError(f'{path}: {len(odd)} weights are sparse or without numbers, first {odd[0]}')
    excess = sum(max(0, value.nbytes - value.untyped_storage().nbytes()) for value in state.values())
    if excess > EXPANDED_BYTES:
        raise CheckpointError(f'{path} claims {excess:,} bytes of weights more than it holds, as a memory bomb does')
    return state
