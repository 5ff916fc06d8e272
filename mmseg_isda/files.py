"""Files that appear whole or not at all, and never in place of one of the user's."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import ExistingPathError, MissingPathError


def check_file(path: str | os.PathLike, what: str, hint: str = '') -> Path:
    """Returns ``path`` if it is a file.

    Raises:
        MissingPathError: if it is not; where a file beside it has nearly the same name, the message names it.
    """
    path = Path(path)
    if path.is_file():
        return path
    state = 'is a folder, not a file' if path.is_dir() else 'does not exist'
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = [str(path.parent / name) for name in difflib.get_close_matches(path.name, siblings)]
    advice = f'did you mean {" or ".join(near)}?' if near else hint
    raise MissingPathError(f'{what} {path} {state}' + (f'; {advice}' if advice else ''))


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yields the name of a new file in the folder of ``target``, which is made; the file is gone afterwards.

    Write it, then :func:`move_into_place`: an interrupted run leaves no half a file under the final name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        temporary.touch(exist_ok=False)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(content: dict, path: Path) -> None:
    """``torch.save``, with bytes that do not depend on the name of the file."""
    with path.open('wb') as file:
        torch.save(content, file)


def move_into_place(temporary: Path, target: Path, force: bool) -> None:
    """Renames a finished file.

    Raises:
        ExistingPathError: if ``target`` exists and ``force`` is not given.
    """
    refuse_replacing(target, force)
    os.replace(temporary, target)


def refuse_replacing(path: Path, force: bool) -> None:
    """Raises ExistingPathError if a file exists, unless ``force``."""
    if path.exists() and not force:
        raise ExistingPathError(f'{path} exists; give --force to replace it, or another name')


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
