"""Walk over the nested dicts and lists of a config, and change the data of its test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


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
