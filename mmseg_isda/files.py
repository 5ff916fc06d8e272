"""Files that appear whole or not at all, never in place of one of the user's, and are read without running code."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import ExistingPathError, MissingPathError, OptionError, UserError

# What only a storage backend or a model zoo of the host can look for. Any other name is a file, also one with "://".
_REMOTE = re.compile(r'(https?|pavi|modelzoo|torchvision|open-?mmlab|mmcls)://|(\S+:)?(s3|petrel)://')
_TEMPORARY = re.compile(r'\..+\.[0-9a-f]{16}\.tmp')


def is_remote(path: str | os.PathLike) -> bool:
    """Return whether a path begins with a scheme that the host fetches from, such as ``https://`` or ``s3://``."""
    return bool(_REMOTE.match(str(path)))


def check_file(path: str | os.PathLike, what: str, hint: str = '') -> Path:
    """Return ``path`` if it is a file; else the error names one beside it that is called alike, or gives the hint."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    state = 'is a folder, not a file' if path.is_dir() else 'does not exist'
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = [str(path.parent / name) for name in difflib.get_close_matches(path.name, siblings)]
    advice = f'did you mean {" or ".join(near)}?' if near else hint
    raise MissingPathError(f'{what} {path} {state}' + (f'; {advice}' if advice else ''))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


# --- writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield the name of a new file in the folder of ``target``, which is made; the file is gone afterwards.

    Write it, then :func:`move_into_place`: an interrupted run leaves no half a file under the final name. The name is
    random, as process ids are not unique where several containers or machines share a volume. OptionError says what
    cannot be written.
    """
    temporary = target.with_name(f'.{target.name}.{secrets.token_hex(8)}.tmp')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
    except UserError:
        raise
    except OSError as error:
        raise OptionError(f'{target} cannot be written: {error.strerror or error}') from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(content: bytes, target: Path) -> None:
    """Write a file that replaces an older one once it is whole."""
    with temporary_beside(target) as temporary:
        temporary.write_bytes(content)
        move_into_place(temporary, target, force=True)


def save_tensors(content: dict, path: Path) -> None:
    """``torch.save``, with bytes that do not depend on the name of the file."""
    try:
        with path.open('wb') as file:
            torch.save(content, file)
    except RuntimeError as error:  # which PyTorch's writer makes of an error of the disk
        raise OSError(first_line(error)) from error


def move_into_place(temporary: Path, target: Path, force: bool) -> None:
    """Rename a finished file, once it is on the disk; ExistingPathError if ``target`` exists, unless ``force``."""
    refuse_replacing(target, force)
    with temporary.open('rb+') as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)


def refuse_replacing(path: Path, force: bool) -> None:
    """Raise ExistingPathError if a file exists, unless ``force``."""
    if path.exists() and not force:
        raise ExistingPathError(f'{path} exists; give --force to replace it, or another name')


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of runs that were killed while they wrote. Call it where no other run writes."""
    for path in folder.glob('.*.tmp'):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- reading ---------------------------------------------------------------------------------------------------------


class MemoryBudget:
    """Memory that a source of ``packed`` bytes may take once unpacked: 256 MiB and a hundred times its size."""

    floor = 256 << 20

    def __init__(self, source: str | os.PathLike, packed: int = 0) -> None:
        self.source, self.packed, self.taken = source, packed, 0

    def take(self, size: int) -> None:
        """Count ``size`` more bytes, before they are unpacked; OptionError if that is too much."""
        self.taken += size
        limit = self.floor + 100 * self.packed
        if self.taken > limit:
            raise OptionError(
                f'{self.source} ({self.packed:,} bytes) unpacks to over {limit:,} bytes, as a decompression bomb does'
            )


def read_class_weight(path: str | os.PathLike) -> list[float]:
    """Return the weights of the classes from a file of numbers; no code of it is run.

    It is a list in a ``.json``, ``.yaml`` or ``.yml`` file, or a one-dimensional array in an ``.npy`` file. OptionError
    if it is of another kind, such as a pickle, or holds anything but finite numbers from 0.
    """
    path = check_file(path, 'class_weight file')
    try:
        values = _read_numbers(path)
        flat = isinstance(values, list) and all(isinstance(value, (int, float)) for value in values)
        weights = [float(value) for value in values] if flat else []
    except UserError:
        raise
    except Exception as error:  # whatever a broken or malicious file makes its reader raise
        raise OptionError(f'class_weight file {path} cannot be read: {first_line(error)}') from error
    if not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise OptionError(f'class_weight file {path} must hold a list of finite numbers, 0 or more, one a class')
    return weights


def _read_numbers(path: Path) -> Any:
    if path.stat().st_size > 1 << 20:
        raise OptionError(f'class_weight file {path} has {path.stat().st_size:,} bytes, more than any list of weights')
    kind = path.suffix.lower()
    if kind == '.npy':  # mapped, so that a false shape in the header takes no memory
        return np.load(path, mmap_mode='r', allow_pickle=False).tolist()
    if kind == '.json':
        return json.loads(path.read_text(encoding='utf-8'))
    if kind in ('.yaml', '.yml'):
        import yaml

        return yaml.safe_load(path.read_text(encoding='utf-8'))
    raise OptionError(
        f'class_weight file {path} must be .npy, .json, .yaml or .yml, got {kind or "no suffix"}: other kinds can run '
        f'code while they are read'
    )
