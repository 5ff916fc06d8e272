"""From a config file and ``--cfg-options`` to a config, with what its toolkit needs imported."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from traceback import extract_tb
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ..config_tree import iter_dicts
from ..errors import OptionError
from ..files import first_line
from ..toolkits import MMSEG, TOOLKITS, Toolkit, toolkit_of
from .config import base_files, find_config
from .options import READ_BY_RUNNER, check_options


def load_config(name: str | os.PathLike, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config, by its file or its shipped name, and merge ``--cfg-options`` into it."""
    path = find_config(name)
    files = [str(file) for file in base_files(path)]
    try:
        cfg = Config.fromfile(path)
        list(cfg.values())  # imports what the file names
    except Exception as error:  # a config is a program
        lines = [f', line {frame.lineno}' for frame in extract_tb(error.__traceback__) if frame.filename == files[0]]
        missing = _missing_toolkit(error)
        reason = f'{missing.title} is not installed' if missing else f'{type(error).__name__}: {first_line(error)}'
        raise OptionError(f'config {path}{"".join(lines[-1:])} cannot be read: {reason}') from error
    if options:
        set_options(cfg, options)
    return cfg


def _missing_toolkit(error: BaseException | None) -> Toolkit | None:
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    return TOOLKITS.get(getattr(error, 'name', None) or '')


def import_plugin(cfg: Config) -> None:
    """Import the part of this package that registers losses, data sets and heads in the config's toolkit."""
    toolkit, scope = toolkit_of(cfg), cfg.get('default_scope') or MMSEG.package
    if find_spec(toolkit.package) is None:
        raise OptionError(f'{cfg.filename} is a config of {toolkit.title}, which is not installed')
    try:
        importlib.import_module(toolkit.plugin)
        importlib.import_module(f'{toolkit.package}.registry')  # which no plugin of MMDetection's imports
    except (ImportError, AssertionError) as error:  # toolkits assert the versions of one another
        raise OptionError(f'{toolkit.title} is installed but cannot be imported: {first_line(error)}') from error
    if scope not in (MODELS.scope, *MODELS.children):
        raise OptionError(f'default_scope is {scope!r}, but the toolkits are: {", ".join(TOOLKITS)}')


def tapped_losses(cfg: Config) -> Iterator[tuple[type, dict]]:
    """Yield the class and the settings of each loss of this package in the config's model, by the registries."""
    from ..engine.binding import is_tapped_loss

    with MODELS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        for _, node in iter_dicts(cfg.get('model') or {}):
            kind = node.get('type')
            found = registry.get(kind) if isinstance(kind, str) else kind
            if isinstance(found, type) and is_tapped_loss(found):
                yield found, node


def uses_isda(cfg: Config) -> bool:
    """Whether the config's model has a loss that ``ISDAHook`` is to bind."""
    return any(True for _ in tapped_losses(cfg))


def set_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config; one of the ISDA losses, such as ``lambda_0``, is set in all of them."""
    dotted = {key: value for key, value in options.items() if '.' in key}
    check_options(cfg, dotted)
    cfg.merge_from_dict(dotted)
    plain = {key: value for key, value in options.items() if key not in dotted}
    shared = _isda_options(cfg) if plain.keys() - set(cfg) - READ_BY_RUNNER else {}
    own = {key: value for key, value in plain.items() if key in cfg or key not in shared}
    check_options(cfg, own, others=shared)
    cfg.merge_from_dict(own)
    for key in plain.keys() - own.keys():
        if not shared[key]:
            raise OptionError(
                f'--cfg-options {key}: {cfg.filename} has no ISDA loss with that option; name its ISDA twin'
            )
        for node in shared[key]:
            node[key] = plain[key]


def _isda_options(cfg: Config) -> dict[str, list[dict]]:
    """Return the losses of a config that have each option of the ISDA losses."""
    from ..engine.loss import ISDALossBase, option_names

    import_plugin(cfg)
    options: dict[str, list[dict]] = {name: [] for name in option_names(ISDALossBase)}
    for loss, node in tapped_losses(cfg):
        for name in option_names(loss) if issubclass(loss, ISDALossBase) else ():
            options.setdefault(name, []).append(node)
    return options
