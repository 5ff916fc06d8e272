"""Register what a toolkit is to find as soon as that toolkit is imported, and not before: PyTorch users wait for none.

Python asks the finders of ``sys.meta_path`` for every module that it imports. Ours finds nothing by itself: it lets the
others find the module, and imports the plugin once the module has been executed. Registries of MMEngine import these
modules before they look a name up, so the name is there in time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from warnings import warn


def register_on_import(plugin: str, *, hosts: Sequence[str]) -> None:
    """Import a plugin now if one of its hosts has been imported, else right after the first that will be."""
    if any(host in sys.modules and not _is_importing(host) for host in hosts):
        _import_plugin(plugin, hosts)
    else:
        sys.meta_path.insert(0, _Watcher(plugin, hosts))


def _is_importing(name: str) -> bool:
    spec = getattr(sys.modules.get(name), '__spec__', None)
    return getattr(spec, '_initializing', False)


def _import_plugin(plugin: str, hosts: Sequence[str]) -> None:
    if any(map(_is_importing, hosts)):  # The plugin may need what that host has yet to import; it comes after it.
        return
    try:
        importlib.import_module(plugin)
    except (ImportError, AssertionError) as error:  # MMSegmentation asserts the version of MMCV.
        # Those who need another toolkit shall not need one that works.
        package = hosts[0].partition('.')[0]
        warn(
            f'{package} is installed but {plugin} cannot be imported, so its losses are missing: {error}', stacklevel=3
        )


class _Watcher(MetaPathFinder, Loader):
    """Load each host as its own loader does, and the plugin after it."""

    def __init__(self, plugin: str, hosts: Sequence[str]) -> None:
        self.plugin, self.hosts = plugin, hosts
        self._is_asking, self._loaders = False, {}

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname not in self.hosts or self._is_asking:
            return None
        self._is_asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._is_asking = False
        if spec is not None and spec.loader is not None:
            self._loaders[fullname], spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loaders[spec.name].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on the module is as if nobody had looked.
        module.__loader__ = module.__spec__.loader = self._loaders[module.__name__]
        module.__loader__.exec_module(module)
        _import_plugin(self.plugin, [host for host in self.hosts if host != module.__name__])
