"""From a config file and the options of a command line to an MMEngine runner; what train.py and test.py share.

Nothing here knows a toolkit: each function takes a config, changes one thing of it, and returns a note for the log
where it did something that the user did not ask for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoints.hook import CheckpointGuard
from ..checkpoints.reading import peek_checkpoint, seed_of
from ..config_tree import iter_dicts, type_name
from ..errors import OptionError
from ..files import is_remote
from .checked_runner import CheckedRunner
from .loading import import_plugin as import_plugin
from .loading import load_config as load_config
from .loading import uses_isda
from .outcome import LAUNCHER_RANKS, is_first
from .preflight import check_data, check_settings, drawn_subsets
from .resume import check_pretrained, guard_files, lock_work_dir, set_resume

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SYNC_BN = ('SyncBN', 'SyncBatchNorm', 'MMSyncBN', 'NaiveSyncBN')


# --- the config ------------------------------------------------------------------------------------------------------


def add_isda_hook(cfg: Config) -> str | None:
    """Add ISDAHook to ``default_hooks`` where the model has an ISDA loss and no hook of the config is an ISDAHook."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    has_hook = any(isinstance(hook, Mapping) and type_name(hook.get('type')) == 'ISDAHook' for hook in hooks)
    if has_hook or not uses_isda(cfg):
        return None
    cfg.default_hooks = ConfigDict(cfg.get('default_hooks') or {}, isda=dict(type='ISDAHook', _scope_='mmengine'))
    return "The model uses an ISDA loss: isda=dict(type='ISDAHook') was added to default_hooks."


def replace_sync_bn(cfg: Config) -> str | None:
    """Replace synchronized batch normalization, which the CPU does not have, by the plain one."""
    if get_device() != 'cpu':
        return None
    replaced = [node for _, node in iter_dicts(cfg.get('model') or {}) if type_name(node.get('type')) in SYNC_BN]
    for node in replaced:
        node['type'] = 'BN'
    return f'SyncBN was replaced by BN in {len(replaced)} place(s): the device is the CPU.' if replaced else None


# --- several processes -----------------------------------------------------------------------------------------------


def set_launcher(cfg: Config, launcher: str) -> str | None:
    """Set the launcher; without an accelerator, the processes talk through gloo."""
    cfg.launcher = launcher
    if launcher == 'none':
        return None
    missing = [name for name in LAUNCHER_RANKS[launcher] if name not in os.environ]
    if missing:
        script = 'slurm_train.sh' if launcher == 'slurm' else 'dist_train.sh'
        raise OptionError(
            f'--launcher {launcher}: the environment lacks {", ".join(missing)}; start with tools/{script}, '
            f'or leave the option out'
        )
    if get_device() != 'cpu':
        return None
    env, unused = cfg.get('env_cfg') or {}, cfg.get('find_unused_parameters', False)
    cfg.env_cfg = dict(env, dist_cfg=dict(env.get('dist_cfg') or {}, backend='gloo'))
    # The host's default wrapper names a CUDA device; without one, device_ids must be None.
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=unused)
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    return "env_cfg.dist_cfg.backend was set to 'gloo': there is no CUDA device."


def join_cpu_processes(cfg: Config) -> None:
    """Join the process group where there is no accelerator; MMEngine's own way there selects a CUDA device first."""
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or get_device() != 'cpu' or dist.is_initialized():
        return
    rank, world_size, local_rank = (int(os.environ[name]) for name in LAUNCHER_RANKS[launcher])
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank))
    for name in ('MASTER_ADDR', 'MASTER_PORT'):
        if name not in os.environ:
            raise OptionError(f'--launcher {launcher} on the CPU needs the environment variable {name}')
    dist.init_process_group('gloo')


# --- options of training ---------------------------------------------------------------------------------------------


def set_amp(cfg: Config) -> None:
    """Turn on mixed precision with dynamic loss scaling."""
    kind = type_name((cfg.get('optim_wrapper') or {}).get('type', 'OptimWrapper'))
    if get_device() == 'cpu':
        raise OptionError('--amp: AmpOptimWrapper of MMEngine needs a CUDA device, and there is none; leave --amp out')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise OptionError(f'--amp works with optim_wrapper.type OptimWrapper, got {kind}')
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def prepare_training(
    config: str | os.PathLike,
    *,
    work_dir: str | None = None,
    amp: bool = False,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    seed: int | None = None,
) -> tuple[Config, list[str]]:
    """Return the config of a training and the notes for the log, from what the command line has.

    It is checked as far as it can be before :func:`claim_work_dir` and building.
    """
    cfg, notes = prepare_config(config, work_dir, options, launcher)
    if amp:
        set_amp(cfg)
    if seed is not None:
        cfg.randomness = ConfigDict(cfg.get('randomness') or {}, seed=seed)
    check_settings(cfg, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'))
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    drawn_subsets(cfg, LOADERS)
    return cfg, notes


def claim_work_dir(cfg: Config, resume: str | None, options: Mapping[str, Any] | None) -> list[str]:
    """Make the work dir this process's own, and set what training goes on or starts from; return notes for the log."""
    check_pretrained(cfg)  # MMEngine reads them even when it resumes
    if is_first(cfg.launcher):
        lock_work_dir(cfg)
    notes, start = set_resume(cfg, resume, options), cfg.get('load_from')
    if cfg.get('resume') and drawn_subsets(cfg, LOADERS) and start and not is_remote(start):
        drawn_subsets(cfg, LOADERS, trained=seed_of(peek_checkpoint(start)))
    return notes


def prepare_config(
    config: str | os.PathLike, work_dir: str | None, options: Mapping[str, Any] | None, launcher: str
) -> tuple[Config, list[str]]:
    """Do what training and testing have in common; return the config and the notes for the log."""
    cfg = load_config(config, options)
    import_plugin(cfg)
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('.', 'work_dirs', Path(cfg.filename).stem)
    guard_files(cfg)
    return cfg, [note for note in (set_launcher(cfg, launcher), replace_sync_bn(cfg), add_isda_hook(cfg)) if note]


def build_runner(cfg: Config, notes: list[str], kind: type[Runner] = CheckedRunner) -> Runner:
    """Build the runner that the config asks for, and log the notes."""
    join_cpu_processes(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else kind.from_cfg(cfg)
    runner.register_hook(CheckpointGuard())
    for note in notes:
        runner.logger.info(note)
    return runner
