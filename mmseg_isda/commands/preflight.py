"""What can be checked before anything is built: settings, places to write to, folders of the data."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from mmengine.config import Config

from ..config_tree import iter_datasets, iter_dicts, look_up, type_name
from ..errors import ExistingPathError, MissingPathError, OptionError
from ..files import check_file, is_remote
from ..toolkits import find_hint

DOCS_HINT = 'docs/data.md of the repository says how to get the data'
ELSEWHERE_HINT = '; for data in another place: --cfg-options {where}.data_root=...'


# --- settings --------------------------------------------------------------------------------------------------------

# The least that a number may be, by the end of its key.
LEAST = {
    **dict.fromkeys(('train_cfg.max_iters', 'train_cfg.max_epochs', 'train_cfg.val_interval'), 1),
    **{f'{part}_dataloader.batch_size': 1 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
    'optim_wrapper.accumulative_counts': 1,
    **{f'default_hooks.checkpoint.{name}': -1 for name in ('interval', 'max_keep_ckpts')},  # the host's "never", "all"
    'default_hooks.logger.interval': 1,
    'randomness.seed': 0,
}
MAX_SEED = 2**32 - 1  # of NumPy


def check_settings(cfg: Config, needed: Sequence[str]) -> None:
    """Check that a config has what a command needs, and that its counts are counts."""
    missing = [name for name in needed if not isinstance(cfg.get(name), (Mapping, list))]
    if missing:
        raise OptionError(f'config {cfg.filename} has no {", ".join(missing)}: name a whole config')
    tree = cfg.to_dict()
    for key, least in LEAST.items():
        for value in look_up(tree, key):
            is_count = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (is_count and least <= value <= MAX_SEED):
                raise OptionError(f'{key} must be a whole number from {least} to {MAX_SEED}, got {value!r}')
    for rate in look_up(tree, 'optim_wrapper.optimizer.lr'):
        if isinstance(rate, float) and not math.isfinite(rate):
            raise OptionError(f'optim_wrapper.optimizer.lr must be finite, got {rate}')


# --- outputs ---------------------------------------------------------------------------------------------------------


def check_output(path: str | os.PathLike, option: str, *, replace: bool = False, advice: str = '') -> None:
    """Check before the work that a file can be written after it; its folder is made. ``advice`` follows "exists"."""
    path = Path(path)
    if path.is_dir():
        raise OptionError(f'{option} {path} is a folder: name a file')
    if path.exists() and not replace:
        raise ExistingPathError(f'{option} {path} exists; name another file{advice}')
    check_folder(path.parent, option)


def check_folder(path: str | os.PathLike, option: str) -> None:
    """Make a folder and check that files can be written there."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OptionError(f'{option}: {path} cannot be written ({error.strerror}); name another place') from error


# --- data ------------------------------------------------------------------------------------------------------------


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Look for the folders and annotation files that these loaders of a config, if it has them, and evaluators read."""
    for loader in loaders:
        settings = cfg.get(loader) or {}
        for where, dataset in iter_datasets(settings.get('dataset'), f'{loader}.dataset'):
            _check_dataset(where, dataset)
        _check_evaluator(cfg, loader.replace('_dataloader', '_evaluator'))


def drawn_subsets(cfg: Config, loaders: Sequence[str], trained: int | None = None) -> list[dict]:
    """Return the SubsetDatasets whose images the seed of the run draws: they name none of their own.

    ``trained`` is the seed that a checkpoint was trained with, where it says so.

    Raises:
        OptionError: if the run has no seed, another one than the checkpoint, or one that differs between ranks.
    """
    randomness, drawn = cfg.get('randomness') or {}, []
    seed = randomness.get('seed')
    for loader in loaders:
        for where, node in iter_dicts(cfg.get(loader) or {}, loader):
            draws = type_name(node.get('type')) == 'SubsetDataset' and node.get('num_images') is not None
            if not draws or node.get('seed') is not None:
                continue
            if seed is None:
                raise OptionError(
                    f'{where} draws its images by the seed of the training, which is not set: train with --seed N; '
                    f'later name the config in the work dir, or --cfg-options randomness.seed=N'
                )
            if randomness.get('diff_rank_seed'):
                raise OptionError(
                    f'{where} draws its images by the seed of the run, which randomness.diff_rank_seed makes another '
                    f'one on each rank: --cfg-options randomness.diff_rank_seed=False, or give {where} a seed'
                )
            if trained is not None and trained != seed:
                raise OptionError(
                    f'{where} would draw its images by seed {seed}, but the checkpoint was trained with {trained}, so '
                    f'it may have seen others: --cfg-options randomness.seed={trained}, in training --seed {trained}'
                )
            drawn.append(node)
    return drawn


def set_subset_seeds(cfg: Config, loaders: Sequence[str], trained: int | None = None) -> None:
    """Give the SubsetDatasets that the seed of the run draws that seed, where no runner is to set it."""
    for node in drawn_subsets(cfg, loaders, trained):
        node['seed'] = cfg.randomness['seed']


def _check_evaluator(cfg: Config, name: str) -> None:
    """CocoMetric reads the truth by itself, from a path that does not follow the data set's ``data_root``."""
    for where, metric in iter_dicts(cfg.get(name) or {}, name):
        path = metric.get('ann_file')
        if not isinstance(path, str) or is_remote(path) or metric.get('backend_args'):
            continue
        advice = f'the same file as the data set reads; elsewhere: --cfg-options {where}.ann_file=...'
        check_file(path, f'annotation file ({type_name(metric.get("type"))}, {where}.ann_file):', advice)


def _check_dataset(where: str, dataset: Mapping) -> None:
    kind, root = type_name(dataset.get('type')), dataset.get('data_root')
    root = root if isinstance(root, str) else ''
    # MMPretrain's small data sets fetch themselves.
    downloads = kind.startswith(('CIFAR', 'MNIST', 'FashionMNIST', 'SVHN')) and dataset.get('download', True)
    if is_remote(root) or dataset.get('backend_args') or downloads:
        return
    prefixes = dataset.get('data_prefix') or {}
    if not isinstance(prefixes, str | Mapping):
        raise OptionError(f'{where}.data_prefix must name folders, got {prefixes!r}')
    named = {'': prefixes} if isinstance(prefixes, str) else {f'.{key}': value for key, value in prefixes.items()}
    places = {'data_root': '', **{f'data_prefix{key}': value for key, value in named.items()}}
    for key, value in {**places, 'ann_file': dataset.get('ann_file') or None}.items():
        path = os.path.join(root, value) if isinstance(value, str) else ''
        is_there = os.path.exists(path) and (key == 'ann_file' or (os.path.isdir(path) and any(os.scandir(path))))
        if path and not is_remote(path) and not is_there:
            what = 'annotation file' if key == 'ann_file' else 'data folder'
            state = 'is empty' if os.path.isdir(path) else 'does not exist'
            hint = (find_hint(f'{Path(root).name} {kind}') or DOCS_HINT) + ELSEWHERE_HINT
            advice = hint.format(root=root or 'ROOT', where=where)
            raise MissingPathError(f'{what} {os.path.abspath(path)} {state} ({kind}, {where}.{key}): {advice}')
