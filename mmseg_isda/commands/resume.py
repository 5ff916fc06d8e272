"""What a training goes on from or starts from, and the folder that it has to itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from mmengine.config import Config

from ..checkpoints.guard import guard_process
from ..checkpoints.reading import RESUME_ENTRIES, check_resumable, peek_checkpoint, read_checkpoint
from ..config_tree import iter_dicts, type_name
from ..errors import CheckpointError, ExistingPathError, InterruptionError, OptionError
from ..files import check_file, is_remote, read_class_weight, remove_leftovers
from ..toolkits import find_hint
from .outcome import is_interruption
from .preflight import check_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.lock'
_locks: dict[Path, TextIO] = {}  # open for the life of the process, whose end releases them, however it ends


def guard_files(cfg: Config) -> None:
    """See that no file that a config names runs code when it is read.

    Files of class weights are read here and now, and their numbers take the place of their names.
    """
    guard_process()
    for _, node in iter_dicts(list(cfg.values())):
        if isinstance(node.get('class_weight'), (str, Path)):
            node['class_weight'] = read_class_weight(node['class_weight'])


def check_pretrained(cfg: Config) -> None:
    """Read the local files of weights that a model is to start from; what is missing, damaged or no data is named."""
    for where, node in iter_dicts(cfg.get('model') or {}, 'model'):
        key = 'checkpoint' if type_name(node.get('type')) in ('Pretrained', 'PretrainedInit') else 'pretrained'
        source = node.get(key)
        if isinstance(source, (str, Path)) and not is_remote(source):
            setting = where if key == 'checkpoint' else f'{where}.{key}'
            hints = [find_hint(str(source)), f'to start without it: --cfg-options {setting}=None']
            read_checkpoint(check_file(source, f'pretrained weights ({where}):', '; '.join(filter(None, hints))))


# --- the folder ------------------------------------------------------------------------------------------------------


def lock_work_dir(cfg: Config) -> None:
    """Keep other trainings out of the work dir until this process ends; remove what killed ones have left half written.

    The lock belongs to the process: a killed run leaves none behind, its data loaders' processes hold none. Where the
    system has no such locks (Windows, some network drives), nothing is locked.
    """
    for folder in _folders(cfg):
        check_folder(folder, 'folder of checkpoints')
    work_dir = Path(cfg.work_dir).resolve()
    if fcntl is None or work_dir in _locks:
        return
    file = (work_dir / LOCK).open('a+', encoding='utf-8')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        raise OptionError(
            f'another run trains in {work_dir} ({file.read().strip()}): wait for its end, or name another --work-dir'
        ) from None
    except OSError:
        return
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n')
    file.flush()
    _locks[work_dir] = file
    remove_leftovers(work_dir)


def _folders(cfg: Config) -> list[Path]:
    """Return the work dir, and the folder in the ``out_dir`` of CheckpointHook where it has a local one."""
    work_dir, out_dir = Path(cfg.work_dir), _saving(cfg).get('out_dir')
    return [work_dir, *([Path(out_dir, work_dir.name)] if out_dir and not is_remote(out_dir) else [])]


def _saving(cfg: Config) -> Mapping[str, Any]:
    return (cfg.get('default_hooks') or {}).get('checkpoint') or {}


# --- checkpoints in it -----------------------------------------------------------------------------------------------


def find_saved(cfg: Config) -> tuple[list[Path], dict[Path, str]]:
    """Look for checkpoints of an earlier run in the work dir and in the ``out_dir`` of CheckpointHook.

    Returns those that training could go on from, newest first by what their entries say, and {unreadable file: reason}.
    """
    saved, damaged = [], {}
    suffixes = {'.pth', Path(_saving(cfg).get('filename_tmpl') or '').suffix} - {''}
    paths = [path for folder in _folders(cfg) for suffix in suffixes for path in folder.glob(f'*{suffix}')]
    for path in filter(Path.is_file, paths):
        try:
            entries = peek_checkpoint(path)
        except CheckpointError as error:
            damaged[path] = str(error)
            continue
        if all(isinstance(entries.get(key), Mapping) for key in RESUME_ENTRIES):
            step = entries['meta'].get('iter')
            # Files of the best weights lack the optimizer's state.
            age = ('optimizer' in entries, step if isinstance(step, int) else -1, path.stat().st_mtime)
            saved.append((age, path))
    return [path for _, path in sorted(saved, reverse=True)], damaged


def find_newest(cfg: Config) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest sound checkpoint of an earlier run, every byte of it checked, and {damaged file: reason}."""
    saved, damaged = find_saved(cfg)
    for path in saved:
        try:
            check_resumable(path)
            return path, damaged
        except CheckpointError as error:
            damaged[path] = str(error)
    return None, damaged


def set_resume(cfg: Config, resume: str | None, options: Mapping[str, Any] | None = None) -> list[str]:
    """Set what training goes on from, and see that a run that starts at the beginning replaces no checkpoint.

    ``resume``: ``None`` leaves the config as it is, ``'auto'`` takes the newest sound checkpoint of the work dir if
    there is one, anything else is a checkpoint. ``options``: ``--cfg-options``, which might name another one. Returns
    notes for the log.
    """
    start, notes = cfg.get('load_from'), []
    if start is not None and not isinstance(start, str | Path):
        raise OptionError(f'load_from must name one file, got {start!r}')
    if resume == 'auto' or (resume is None and cfg.get('resume') and start is None):
        notes = _resume_newest(cfg)
        if cfg.resume:
            return notes
    elif resume is not None:
        if start and str(start) != str(resume):
            if 'load_from' in (options or {}):
                raise OptionError(f'--resume {resume} and load_from={start} name two checkpoints: leave one out')
            notes = [f'Training goes on from {resume}, so that load_from={start} of the config is not read.']
        cfg.resume, cfg.load_from = True, str(resume)
    elif not cfg.get('resume'):
        saved, damaged = find_saved(cfg)
        if saved:
            raise ExistingPathError(
                f'{cfg.work_dir} holds {len(saved)} checkpoint(s) of an earlier run, such as {saved[0].name}, which a '
                f'new run would replace: --resume goes on from the newest, --work-dir names another folder'
            )
        notes = [f'Damaged, and replaced if training writes it again: {reason}' for reason in damaged.values()]
    source = cfg.get('load_from')
    if source is not None and not is_remote(source):
        check_file(source, '--resume: checkpoint' if cfg.get('resume') else 'load_from: checkpoint')
        (check_resumable if cfg.get('resume') else read_checkpoint)(source)
    return notes


def _resume_newest(cfg: Config) -> list[str]:
    last = Path(cfg.work_dir, 'last_checkpoint')
    named = last.read_text(encoding='utf-8', errors='replace').strip() if last.is_file() else ''
    if is_remote(named):  # the host's file is believed where nothing else can tell
        cfg.resume, cfg.load_from = True, named
        return [f'Training goes on from {named}.']
    newest, damaged = find_newest(cfg)
    notes = [f'Left alone: {reason}' for reason in damaged.values()]
    cfg.resume = newest is not None
    if newest is not None:
        cfg.load_from = str(newest)
        return [*notes, f'Training goes on from {newest}, the newest sound checkpoint of {cfg.work_dir}.']
    if damaged:
        raise CheckpointError(
            f'{cfg.work_dir} has no sound checkpoint to resume: {"; ".join(damaged.values())}; to start at the '
            f'beginning, name another --work-dir or remove the damaged files'
        )
    return [f'There is no checkpoint in {cfg.work_dir} to resume: training starts at the beginning.']


@contextmanager
def saying_where_to_resume(cfg: Config) -> Iterator[None]:
    """Turn an interruption from the keyboard into one line that says how to go on."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not is_interruption(error):
            raise
        saved, _ = find_saved(cfg)
        how = f'--resume goes on from {saved[0]}' if saved else 'no checkpoint was written yet'
        raise InterruptionError(f'interrupted; {how}') from None
