"""JSON files that commands hand to one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import OptionError


def write_json(path: Path, content: Any) -> None:
    """Write a file that appears whole or not at all; what is no finite number becomes ``null``."""
    from ..files import write_bytes

    text = json.dumps(content, default=lambda value: value.tolist())  # of NumPy and PyTorch
    plain = json.loads(text, parse_constant=lambda _: None)
    write_bytes((json.dumps(plain, indent=2) + '\n').encode(), path)


def read_json(path: Path, *keys: str, remove: Path | None = None) -> dict[str, Any]:
    """Read a file that :func:`write_json` wrote; OptionError if it is damaged, or lacks one of ``keys``.

    ``remove`` is what to remove then, by default the file.
    """
    advice = f'remove {remove or "it"} to have it made again'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise OptionError(f'{path} is damaged ({error}): {advice}') from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise OptionError(f'{path} is no record of a run (no {", ".join(missing)}): {advice}')
    return content


def is_record(path: Path) -> bool:
    """Return whether a file is the record of a training."""
    try:
        return path.is_file() and bool(read_json(path, 'validations'))
    except OptionError:
        return False
