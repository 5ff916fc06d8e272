"""Options of ``--cfg-options`` that would change nothing, and are refused."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ..config_tree import iter_dicts, look_up
from ..errors import OptionError

# Settings that take keys of the user's own, so that a new one below them is no typing mistake.
OPEN_SETTINGS = frozenset({'paramwise_cfg', 'custom_keys', 'init_cfg', 'clip_grad', 'backend_args', 'loss_scale'})
# What may stand at the top of a config.
READ_BY_RUNNER = frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    *('model_wrapper_cfg', 'sync_bn', 'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval'),
    *('compile', 'runner_type', 'strategy', 'tta_model', 'tta_pipeline', 'img_ratios'),
}


def check_options(cfg: Config, options: Mapping[str, Any], others: Iterable[str] = ()) -> None:
    """Refuse keys of ``--cfg-options`` that would change nothing.

    A key may add a setting where its parent exists. Where the parent is missing too, it is most likely misspelt. At the
    top of a config, a key that no runner reads is a variable of the file, which has been filled in where it is used.
    ``others`` are names beside those of the config that may have been meant.
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
        above, found = '.'.join(parts[:depth]), look_up(tree, part)
        if found:
            (tree,) = found
        elif isinstance(tree, Mapping):
            _check_new_setting(tree, parts, depth, others)
            return
        elif isinstance(tree, (list, tuple)):
            raise OptionError(
                f'--cfg-options {key}: {above} is a list of {len(tree)}, so {part!r} must be 0 to {len(tree) - 1}'
            )
        elif tree is None:
            return
        else:
            raise OptionError(f'--cfg-options {key}: {above} is the value {tree!r} and has no settings below it')


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
    known = f'{above} has: {", ".join(sorted(names))}' if above else 'no runner reads a setting of that name'
    if near:
        known = f'did you mean {" or ".join(prefix + name for name in near)}?'
    raise OptionError(f'--cfg-options {".".join(parts)}: there is no {prefix}{part} in the config; {known}')
