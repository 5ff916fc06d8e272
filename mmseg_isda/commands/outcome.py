"""How a command ends: its exit status, and one line for what the user can mend."""

from __future__ import annotations

import gc
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DataError, InterruptionError, OptionError, UserError

LAUNCHER_RANKS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
PACKAGE = Path(__file__).parents[1]
SHOW_TRACEBACK = 'MMSEG_ISDA_TRACEBACK'
BUILDER = os.path.join('mmengine', 'registry', 'build_functions.py')
_NOT_REGISTERED = re.compile(r'(\S+) is not in the (\S+) registry')


def run_command(main: Callable[[], Any]) -> int:
    """Run a command and return its exit status: what it returns, or 0.

    For what the user can mend it is 2, after one line on stderr, and 130 after an interruption. Any other error is
    a bug and keeps its traceback; so does every one where the environment variable ``MMSEG_ISDA_TRACEBACK`` is set.
    """
    try:
        status = main()
    except (Exception, KeyboardInterrupt) as error:
        mistake = explain(error)
        if mistake is None or os.environ.get(SHOW_TRACEBACK):
            raise
        rank = launched_rank()
        if rank == 0 or isinstance(error, DataError) or not isinstance(error, UserError):  # others meet every rank
            print('error' + (f' (rank {rank})' if rank else '') + f': {mistake}', file=sys.stderr)
        leave_processes()
        return mistake.status
    # Not after other errors: to leave may wait for the other processes, and the traceback must be seen at once.
    leave_processes()
    return status or 0


def explain(error: BaseException) -> UserError | None:
    """Return the mistake of the user that an error stands for, with a message of one line; ``None`` for a bug.

    Mistakes are this package's own errors, and whatever ends the building of an object that a config describes.
    """
    if isinstance(error, KeyboardInterrupt):
        return InterruptionError('interrupted')
    message, raised_by_us = _without_traceback(str(error.args[0] if error.args else error))
    text = ' '.join(message.split())
    if isinstance(error, UserError):
        return type(error)(text)
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    raised_by_us |= Path(last.filename).is_relative_to(PACKAGE) and (last.line or '').startswith('raise')
    if raised_by_us and isinstance(error, ValueError | TypeError | RuntimeError):
        return OptionError(text)
    if any(frame.filename.endswith(BUILDER) for frame in frames):
        if found := _NOT_REGISTERED.search(text):
            return OptionError(f'the toolkit has no {found[1]} ({found[2]} registry): {_near(*found.groups())}')
        where = f'{type(error).__name__}: {text or last.line} ({Path(last.filename).name}, line {last.lineno})'
        return OptionError(f'the config cannot be built: {where}; {SHOW_TRACEBACK}=1 shows more')
    return None


def _without_traceback(text: str) -> tuple[str, bool]:
    """Return the message of an error of a data loader's process, and whether this package raised it."""
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return text, False
    last_frame = text.rpartition('\n  File "')[2]
    message = re.sub(r'^[\w.]+: ', '', text.strip().rpartition('\n')[2])
    return message, last_frame.startswith(str(PACKAGE)) and '\n    raise ' in last_frame


def _near(name: str, registry: str) -> str:
    from difflib import get_close_matches

    from mmengine import registry as registries

    scope, _, kind = registry.rpartition('::')
    known: set[str] = set()
    for root in vars(registries).values():
        if isinstance(root, registries.Registry) and root.name == kind:
            known |= set(root.module_dict) | set(getattr(root.children.get(scope), 'module_dict', {}))
    near = get_close_matches(name.rpartition('.')[2], known)
    return f'did you mean {" or ".join(near)}?' if near else 'is it misspelt, or is its module not in custom_imports?'


def leave_processes() -> None:
    """End the process group. Threads of gloo that outlive the interpreter now and then abort it, the work done."""
    if 'torch.distributed' not in sys.modules:
        return
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        gc.collect()  # a runner is full of cycles, and its wrapped model holds the group and its threads
        dist.destroy_process_group()


def launched_rank() -> int:
    """Return the rank that the launcher gave this process, before any process group exists."""
    return int(next((os.environ[names[0]] for names in LAUNCHER_RANKS.values() if names[0] in os.environ), 0))
