"""The host's reading and writing made safe within one process, by what the host offers to register.

MMEngine reads a checkpoint that PyTorch refuses as unsafe a second time, without safety; reads YAML and pickles with
loaders that run code; and writes files in place. Each of its registries takes a substitute, so nothing is patched.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mmengine.fileio import (
    LocalBackend,
    PickleHandler,
    YamlHandler,
    get_file_backend,
    register_backend,
    register_handler,
)
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_http, load_from_mmcls, load_from_openmmlab, load_from_torchvision

from ..errors import CheckpointError, OptionError
from ..files import first_line, write_bytes
from .reading import allow_checkpoint_classes, read_checkpoint, read_stream

# Names that pickles of plain data and arrays need, those of Python 2 and of NumPy 1 included.
_PLAIN = {('collections', 'OrderedDict'), ('_codecs', 'encode'), ('numpy', 'ndarray'), ('numpy', 'dtype')}
_PLAIN |= {
    (module, kind) for module in ('builtins', '__builtin__') for kind in ('set', 'frozenset', 'complex', 'bytearray')
}
_PLAIN |= {
    (f'numpy.{core}.{name}', function)
    for core in ('core', '_core')
    for name, function in (('multiarray', '_reconstruct'), ('multiarray', 'scalar'), ('numeric', '_frombuffer'))
}


def guard_process() -> None:
    """From here on, have the host read files without running their code, and write files that are whole or absent.

    Every checkpoint goes through :func:`.read_checkpoint`, wherever a config names it; YAML and pickles through readers
    of plain data; and what is written to a local path replaces an older file once it is complete. It stays so for the
    life of the process, and may be called again.
    """
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'  # for what calls torch.load by itself
    for prefixes, load in _LOADERS.items():
        CheckpointLoader.register_scheme(prefixes, load, force=True)
    register_handler(['yaml', 'yml'])(PlainYamlHandler)
    register_handler(['pickle', 'pkl'])(PlainPickleHandler)
    register_backend('local', WholeFileBackend, force=True, prefixes='')


# --- checkpoints, which stay on the CPU: `load_state_dict` copies from there ------------------------------------------


def _load_from_storage(filename: str, map_location: Any = None) -> Mapping:
    try:
        content = get_file_backend(filename, backend_args={'backend': 'petrel'}).get(filename)
    except (ImportError, OSError) as error:
        raise CheckpointError(
            f'{filename} cannot be fetched ({first_line(error)}): download it and name the file'
        ) from error
    return read_stream(io.BytesIO(content), filename)


def _refuse(filename: str, map_location: Any = None) -> Mapping:
    """Refuse a checkpoint that only an unchecked loader of the host could fetch."""
    raise CheckpointError(f'{filename} cannot be loaded safely: download it and name the file')


def _downloading(load: Callable[..., Mapping]) -> Callable[..., Mapping]:
    """Wrap a loader of the host that downloads and calls ``torch.load``, by now safe, so that its errors are named."""

    def load_from_net(filename: str, map_location: Any = None) -> Mapping:
        allow_checkpoint_classes()
        try:
            return load(filename, map_location='cpu')
        except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
            reason = f'{type(error).__name__}: {first_line(error)}'
            raise CheckpointError(f'{filename} cannot be loaded from the net, or not safely ({reason})') from error

    return load_from_net


# --- other files -----------------------------------------------------------------------------------------------------


class _PlainLoader(yaml.SafeLoader):
    """Read what MMEngine dumps: plain data, and tuples."""


_PlainLoader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


class PlainYamlHandler(YamlHandler):
    """Read YAML without constructing objects of any class that it names."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        try:
            return yaml.load(file, Loader=_PlainLoader)
        except yaml.YAMLError as error:
            raise OptionError(f'a YAML file that the config names is not loaded: {error}') from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f'it names {module}.{name}, which could run code')
        return super().find_class(module, name)


class PlainPickleHandler(PickleHandler):
    """Read pickles of plain data and arrays, and refuse others."""

    def load_from_fileobj(self, file: BinaryIO, **kwargs: Any) -> Any:
        try:
            return _PlainUnpickler(file, **kwargs).load()
        except Exception as error:
            raise OptionError(f'a pickle that the config names is not loaded: {first_line(error)}') from error


class WholeFileBackend(LocalBackend):
    """Write local files that are whole or absent; what they replace stays until then."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        write_bytes(obj, Path(filepath))

    def put_text(self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        write_bytes(obj.encode(encoding), Path(filepath))


_LOADERS = {
    ('',): lambda filename, map_location=None: read_checkpoint(filename),
    (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): _load_from_storage,
    ('pavi://',): _refuse,
    ('http://', 'https://'): _downloading(load_from_http),
    ('modelzoo://', 'torchvision://'): _downloading(load_from_torchvision),
    ('open-mmlab://', 'openmmlab://'): _downloading(load_from_openmmlab),
    ('mmcls://',): _downloading(load_from_mmcls),
}
