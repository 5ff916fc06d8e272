"""JSON files that commands hand to one another, and what a folder says of the run in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import OptionError

STARTED, RESULT = 'trial.json', 'result.json'


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


def check_trial(folder: Path, mark: str) -> None:
    """Refuse a folder that holds a run of another config, or checkpoints that no sweep has written.

    ``mark`` is what tells configs apart. A run that failed before its first checkpoint holds nothing that another one
    could be mixed up with.
    """
    started = folder / STARTED
    if not any(folder.glob('*.pth')) and not (folder / RESULT).is_file():
        return
    if not started.is_file():
        raise OptionError(f'{folder} holds a training that no sweep has started: give another --work-dir')
    if read_json(started, 'config', remove=folder)['config'] != mark:
        raise OptionError(
            f'{folder} holds a run of another config or other options, which would not compare: give another '
            f'--work-dir, or remove that folder'
        )


def begin_trial(folder: Path, mark: str) -> None:
    """Write the mark of a run into its folder, which is locked: its checkpoints and its record are those of ``mark``.

    Raises:
        OptionError: as :func:`check_trial`; another run may have ended here since a sweep looked.
    """
    check_trial(folder, mark)
    write_json(folder / STARTED, {'config': mark})
