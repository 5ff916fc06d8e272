"""Walk over the nested dicts and lists of a config, and change the data of its test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import OptionError
from .toolkits import toolkit_of


def type_name(kind: Any) -> str:
    """Return the name of a config's ``type``, which is a string with or without scope, or a class."""
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]


def iter_dicts(node: Any, where: str = '') -> Iterator[tuple[str, dict]]:
    """Yield every dict in a tree of dicts and lists, outer ones first, with its dotted place."""
    if isinstance(node, Mapping):
        yield where, node
        for key, value in node.items():
            yield from iter_dicts(value, f'{where}.{key}' if where else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from iter_dicts(value, f'{where}.{index}' if where else str(index))


def iter_datasets(dataset: Any, where: str = 'dataset') -> Iterator[tuple[str, dict]]:
    """Yield each data set below wrappers such as RepeatDataset and ConcatDataset, with its place in the config."""
    if isinstance(dataset, (list, tuple)):
        for index, item in enumerate(dataset):
            yield from iter_datasets(item, f'{where}.{index}')
    elif isinstance(dataset, Mapping):
        inner = [key for key in ('dataset', 'datasets') if dataset.get(key) is not None]
        for key in inner:
            yield from iter_datasets(dataset[key], f'{where}.{key}')
        if not inner:
            yield where, dataset


def look_up(node: Any, key: str) -> tuple[Any, ...]:
    """Return the value at a dotted key as a tuple of one; an empty tuple where there is no such place."""
    for part in key.split('.'):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, (list, tuple)) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return ()
    return (node,)


def set_pipeline(cfg: Any, pipeline: list) -> None:
    """Give every data set of the test loader another pipeline."""
    for _, dataset in iter_datasets(cfg.test_dataloader.dataset):
        dataset['pipeline'] = pipeline


def wrap_for_tta(cfg: Any) -> None:
    """Wrap the model by the config's ``tta_model``, or by the usual one of its toolkit."""
    wrapper = cfg.get('tta_model') or dict(type=toolkit_of(cfg).tta_model)
    if wrapper['type'] is None:
        raise OptionError(f'the config has no tta_model, and {toolkit_of(cfg).title} has no usual one')
    cfg.model = dict(wrapper, module=cfg.model)
