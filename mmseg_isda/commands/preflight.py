"""What can be checked before anything is built: options of the command line, folders of the data, files of weights."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..config_tree import iter_datasets as iter_datasets
from ..config_tree import iter_dicts, look_up, type_name
from ..errors import ExistingPathError, MissingPathError, OptionError
from ..files import check_file, is_remote
from ..toolkits import find_hint

# Settings that take keys of the user's own, so that a new one below them is no typing mistake.
OPEN_SETTINGS = frozenset({'paramwise_cfg', 'custom_keys', 'init_cfg', 'clip_grad', 'backend_args', 'loss_scale'})
# What may stand at the top of a config.
READ_BY_RUNNER = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    *('model_wrapper_cfg', 'sync_bn', 'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval'),
    *('compile', 'runner_type', 'strategy', 'tta_model', 'tta_pipeline', 'img_ratios'),
}
README_HINT = 'section "Data" of README.md says how to get the data'
ELSEWHERE_HINT = '; for data in another place: --cfg-options {where}.data_root=...'


# --- options ---------------------------------------------------------------------------------------------------------


def check_options(cfg: Config, options: Mapping[str, Any], others: Iterable[str] = ()) -> None:
    """Refuse keys of ``--cfg-options`` that would change nothing.

    A key may add a setting where its parent exists. Where the parent is missing too, it is most likely misspelt. At the
    top of a config, a key that no runner reads is a variable of the file, which has been filled in where it is used.

    Args:
        cfg: the config as its file has it.
        options: dotted keys and their values.
        others: names beside those of the config that may have been meant.

    Raises:
        OptionError: naming the key, the part that is not there and the nearest names that are.
    """
    tree = cfg.to_dict()
    for key in options:
        root = key.partition('.')[0]
        if root in tree and root not in READ_BY_RUNNER:
            _refuse_variable(tree, key, root)
        _check_option(tree, key, set(others))


def _refuse_variable(tree: Mapping, key: str, root: str) -> None:
    uses = (f'{where}.{name}' for where, node in iter_dicts(tree) for name, value in node.items()
            if value == tree[root] and where.partition('.')[0] in READ_BY_RUNNER)  # fmt: skip
    places = list(islice(uses, 4))
    raise OptionError(
        f'--cfg-options {key}: {root} is a variable of the config file that no runner reads; '
        + (f'set it where it is used: {", ".join(places)}' if places else 'change the file')
    )


def _check_option(tree: Any, key: str, others: set[str]) -> None:
    parts = key.split('.')
    for depth, part in enumerate(parts):
        if isinstance(tree, (list, tuple)):
            if not part.isdigit() or int(part) >= len(tree):
                above = '.'.join(parts[:depth])
                raise OptionError(
                    f'--cfg-options {key}: {above} is a list of {len(tree)}, so {part!r} must be 0 to {len(tree) - 1}'
                )
            tree = tree[int(part)]
        elif isinstance(tree, Mapping):
            if part not in tree:
                return _check_new_setting(tree, parts, depth, others)
            tree = tree[part]
        elif tree is None:
            return None
        else:
            raise OptionError(
                f'--cfg-options {key}: {".".join(parts[:depth])} is the value {tree!r} and has no settings below it'
            )
    return None


def _check_new_setting(tree: Mapping, parts: Sequence[str], depth: int, others: set[str]) -> None:
    part, is_leaf = parts[depth], depth == len(parts) - 1
    if depth == 0 and part in READ_BY_RUNNER:
        return
    # A new leaf is a setting that the config leaves at its default; at the top, though, nobody would read it.
    if (is_leaf and depth > 0) or OPEN_SETTINGS & set(parts[: depth + 1]):
        return
    names = {str(name) for name in tree} | (set() if depth else READ_BY_RUNNER | others)
    near = difflib.get_close_matches(part, names, n=3)
    above = '.'.join(parts[:depth])
    prefix = f'{above}.' if above else ''
    known = (
        'did you mean ' + ' or '.join(f'{prefix}{name}' for name in near) + '?'
        if near
        else (f'{above} has: {", ".join(sorted(names))}' if above else 'no runner reads a setting of that name')
    )
    raise OptionError(f'--cfg-options {".".join(parts)}: there is no {prefix}{part} in the config; {known}')


# --- settings --------------------------------------------------------------------------------------------------------

# The least that a number may be, by the end of its key.
LEAST = {
    **dict.fromkeys(('train_cfg.max_iters', 'train_cfg.max_epochs', 'train_cfg.val_interval'), 1),
    **{f'{part}_dataloader.batch_size': 1 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
    'optim_wrapper.accumulative_counts': 1,
    'randomness.seed': 0,
}
MAX_SEED = 2**32 - 1  # of NumPy


def check_settings(cfg: Config, needed: Sequence[str]) -> None:
    """Check that a config has what a command needs, and that its counts are counts.

    Raises:
        OptionError: naming the setting.
    """
    missing = [name for name in needed if not isinstance(cfg.get(name), (Mapping, list))]
    if missing:
        raise OptionError(f'config {cfg.filename} has no {", ".join(missing)}: name a whole config')
    for key, least in LEAST.items():
        for value in look_up(cfg, key):
            is_count = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (is_count and least <= value <= MAX_SEED):
                raise OptionError(f'{key} must be a whole number, {least} or more, got {value!r}')


# --- outputs ---------------------------------------------------------------------------------------------------------


def check_output(path: str | os.PathLike, option: str, *, overwrite: bool = False) -> None:
    """Check before the work that a file can be written after it; the folder is made.

    Args:
        path: the file.
        option: how messages call it.
        overwrite: whether it may exist.

    Raises:
        ExistingPathError: if it exists and may not.
        OptionError: if it is a folder or its folder cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OptionError(f'{option} {path} is a folder: name a file')
    if path.exists() and not overwrite:
        raise ExistingPathError(f'{option} {path} exists; name another file, or give --overwrite')
    check_folder(path.parent, option)


def check_folder(path: str | os.PathLike, option: str) -> None:
    """Make a folder and check that files can be written there.

    Raises:
        OptionError: if they cannot, with the reason.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OptionError(f'{option}: {path} cannot be written ({error.strerror}); name another place') from error


# --- data ------------------------------------------------------------------------------------------------------------


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Looks for the folders and annotation files that data loaders of a config, and their evaluators, read.

    Args:
        cfg: the config.
        loaders: names such as ``'train_dataloader'``; those that the config lacks are left out.

    Raises:
        MissingPathError: naming the first missing path, the setting that names it and how to get the data.
    """
    for loader in loaders:
        settings = cfg.get(loader) or {}
        for where, dataset in iter_datasets(settings.get('dataset'), f'{loader}.dataset'):
            _check_dataset(where, dataset)
        _check_evaluator(cfg, loader.replace('_dataloader', '_evaluator'))


def _check_evaluator(cfg: Config, name: str) -> None:
    """CocoMetric reads the truth by itself, from a path that does not follow the data set's ``data_root``."""
    for where, metric in iter_dicts(cfg.get(name) or {}, name):
        path = metric.get('ann_file')
        if not isinstance(path, str) or is_remote(path) or metric.get('backend_args'):
            continue
        advice = f'the same file as the data set reads; elsewhere: --cfg-options {where}.ann_file=...'
        check_file(path, f'annotation file ({type_name(metric.get("type"))}, {where}.ann_file):', advice)


def _check_dataset(where: str, dataset: Mapping) -> None:
    root = dataset.get('data_root') or ''
    root = root if isinstance(root, str) else ''
    if is_remote(root) or dataset.get('backend_args') or _downloads(dataset):
        return
    prefixes = dataset.get('data_prefix') or {}
    named = (
        {'data_prefix': prefixes}
        if isinstance(prefixes, str)
        else {f'data_prefix.{key}': value for key, value in prefixes.items()}
    )
    folders = {'data_root': ''} | {key: value for key, value in named.items() if isinstance(value, str)}
    for key, value in folders.items():
        path = os.path.join(root, value)
        if path and not is_remote(path) and not (os.path.isdir(path) and any(os.scandir(path))):
            state = 'is empty' if os.path.isdir(path) else 'does not exist'
            _refuse_data(f'data folder {os.path.abspath(path)} {state}', where, key, dataset, root)
    annotations = dataset.get('ann_file')
    if isinstance(annotations, str) and annotations and not os.path.exists(os.path.join(root, annotations)):
        path = os.path.abspath(os.path.join(root, annotations))
        _refuse_data(f'annotation file {path} does not exist', where, 'ann_file', dataset, root)


def _refuse_data(problem: str, where: str, key: str, dataset: Mapping, root: str) -> None:
    kind = type_name(dataset.get('type'))
    hint = find_hint(f'{Path(root).name} {kind}') or README_HINT
    advice = (hint + ELSEWHERE_HINT).format(root=root or 'ROOT', where=where)
    raise MissingPathError(f'{problem} ({kind}, {where}.{key}): {advice}')


def _downloads(dataset: Mapping) -> bool:
    """Whether the data set fetches itself, as MMPretrain's CIFAR does unless it is told ``download=False``."""
    kind = type_name(dataset.get('type'))
    return kind.startswith(('CIFAR', 'MNIST', 'FashionMNIST')) and dataset.get('download', True)
