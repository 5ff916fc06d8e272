"""How a command ends: its exit status, and one line for what the user can mend."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config_tree import iter_dicts
from ..errors import DataError, InterruptionError, OptionError, UserError
from ..toolkits import toolkit_of

if TYPE_CHECKING:
    from mmengine.config import Config

LAUNCHER_RANKS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
PACKAGE = Path(__file__).parents[1]
SHOW_TRACEBACK = 'MMSEG_ISDA_TRACEBACK'
EXTRAS = {
    **dict.fromkeys(('mmengine', 'mmcv', 'mmseg'), 'onedl'),
    'mmpretrain': 'onedl-classification',
    'mmdet': 'onedl-detection',
}
BUILDER = os.path.join('mmengine', 'registry', 'build_functions.py')
RUNNER = os.path.join('mmengine', 'runner', 'runner.py')


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Leave by ``SystemExit`` when the process is told to end, so that what it has started ends as well."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


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


def is_interruption(error: BaseException | None) -> bool:
    """Return whether an error is an interruption from the keyboard, or what a library made of one.

    MMEngine formats the config for every checkpoint, and raises whatever ends that again as a SyntaxError.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def explain(error: BaseException) -> UserError | None:
    """Return the mistake of the user that an error stands for, with a message of one line; ``None`` for a bug.

    Mistakes are this package's own errors, and whatever ends the building of an object that a config describes.
    """
    if is_interruption(error) and not isinstance(error, UserError):
        return InterruptionError('interrupted')
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return OptionError(f"{error.name} is not installed: pip install '.[{EXTRAS[error.name]}]' (docs/install.md)")
    inner = error.__context__
    if isinstance(error, TypeError) and isinstance(inner, TypeError) and str(error).startswith(str(inner)):
        error = inner  # MMEngine raises those of hooks again, with the hook's name
    # The first argument of an error of the system is a number; str() of a KeyError quotes its message.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    message, raised_by_us = _without_traceback(text)
    text = ' '.join(message.split())
    if isinstance(error, UserError):
        return type(error)(text)
    if text.startswith('default_collate: '):  # as configs of MMPretrain have it, where samples hold branches or sizes
        return OptionError(f"{text}: set train_dataloader.collate_fn=dict(type='pseudo_collate')")
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    raised_by_us |= Path(last.filename).is_relative_to(PACKAGE) and (last.line or '').startswith('raise')
    if raised_by_us and isinstance(error, ValueError | TypeError | RuntimeError):
        return OptionError(text)
    builders = ('build_', 'from_cfg')
    # MMEngine was making something that a config describes.
    is_building = any(
        f.filename.endswith(BUILDER) or (f.filename.endswith(RUNNER) and f.name.startswith(builders)) for f in frames
    )
    if is_building or 'unexpected keyword argument' in text:
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


@contextmanager
def naming_unknown_types(cfg: Config) -> Iterator[None]:
    """Say which ``type`` of a config is in no registry where one is missed; the host does not say where it stands."""
    try:
        yield
    except (KeyError, TypeError) as error:
        if 'registry' not in str(error) and 'not a callable' not in str(error):
            raise
        from mmengine import registry

        roots = [item for item in vars(registry).values() if isinstance(item, registry.Registry)]
        scope = toolkit_of(cfg).package
        for where, node in iter_dicts(cfg.to_dict()):
            kind = node.get('type')
            if isinstance(kind, str) and not any(root.get(kind) or root.get(f'{scope}.{kind}') for root in roots):
                parts = [part for root in roots for part in (root, *root.children.values())]
                near = get_close_matches(kind.rpartition('.')[2], {name for part in parts for name in part.module_dict})
                advice = f'did you mean {" or ".join(near)}?' if near else 'is its module not in custom_imports?'
                raise OptionError(f'{where}.type: nothing is registered as {kind!r}; {advice}') from error
        raise


def leave_processes() -> None:
    """End the process group. Threads of gloo that outlive the interpreter now and then abort it, the work done."""
    if 'torch.distributed' not in sys.modules:
        return
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        gc.collect()  # a runner is full of cycles, and its wrapped model holds the group and its threads
        dist.destroy_process_group()


def is_first(launcher: str) -> bool:
    """Return whether this process writes what its run leaves behind: a task of SLURM may hold a run of its own."""
    return launcher == 'none' or launched_rank() == 0


def launched_rank() -> int:
    """Return the rank that the launcher gave this process, before any process group exists."""
    return int(next((os.environ[names[0]] for names in LAUNCHER_RANKS.values() if names[0] in os.environ), 0))
