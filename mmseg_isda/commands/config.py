"""List, show and copy the configs that come with this package.

mmseg-isda config list camvid isda
mmseg-isda config show camvid/pspnet_r18-d8_isda_1xb8-8k_camvid-360x480
mmseg-isda config copy camvid/pspnet_r18-d8_isda_1xb8-8k_camvid-360x480 my_configs
"""

from __future__ import annotations

import ast
import os
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..config_tree import look_up
from ..errors import ExistingPathError, MissingPathError, OptionError
from .arguments import add_config_arguments, parse_options

PACKAGE = Path(__file__).parents[1]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    listing = actions.add_parser('list', help='names of the configs')
    listing.add_argument('words', nargs='*', metavar='WORD', help='only names that contain every WORD')
    show = actions.add_parser('show', help='every setting, and the file that it comes from')
    add_config_arguments(show)
    show.add_argument('--python', action='store_true', help='as one config file without bases instead')
    copy = actions.add_parser('copy', help='copy a config with its bases and the files that it names, ready to edit')
    copy.add_argument('config', help='name of a shipped config')
    copy.add_argument('folder', help='folder to copy to')
    copy.add_argument('--force', action='store_true', help='replace files that are there')


def run(args: Namespace) -> None:
    """List, show or copy."""
    if args.action == 'list':
        print('\n'.join(name for name in shipped_names() if all(word in name for word in args.words)))
    elif args.action == 'copy':
        for path in copy_config(args.config, args.folder, force=args.force):
            print(path)
    else:
        from .loading import load_config

        cfg = load_config(args.config, parse_options(args.cfg_options))
        print(cfg.pretty_text if args.python else '\n'.join(_described(cfg.to_dict(), find_config(args.config))))


# --- files -----------------------------------------------------------------------------------------------------------


def shipped_folder() -> Path:
    """Return the folder of the configs: in a wheel MIM's, in a checkout of the repository ``configs``."""
    installed = PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else PACKAGE.parent / 'configs'


def shipped_names() -> list[str]:
    """Return the names of the shipped configs, such as ``camvid/pspnet_r18-d8_isda_1xb8-8k_camvid-360x480``."""
    paths = (path.relative_to(shipped_folder()) for path in shipped_folder().rglob('*.py'))
    return sorted(path.with_suffix('').as_posix() for path in paths if path.parts[0] != '_base_')


def find_config(name: str | os.PathLike) -> Path:
    """Return the file of a config: a file, or a shipped name with or without its folder."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    names = shipped_names()
    wanted = path.as_posix().removesuffix('.py')
    found = [full for full in names if full == wanted or full.rpartition('/')[2] == wanted]
    if len(found) == 1:
        return shipped_folder() / f'{found[0]}.py'
    if found:
        raise OptionError(f'config {name} may be one of {", ".join(found)}: name its folder too')
    beside = [str(other) for other in path.parent.glob('*.*')] if path.parent.is_dir() else []
    near = get_close_matches(str(path), beside) or get_close_matches(wanted, names)
    advice = f'did you mean {" or ".join(near)}?' if near else '`mmseg-isda config list` names those that come along'
    state = 'is a folder' if path.is_dir() else 'does not exist'
    raise MissingPathError(f'config {name} {state}; {advice}')


def base_files(path: Path, below: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield a config file and all files that it builds on, each once for every file that names it.

    Bases of another package (``mmdet::...``) are left out, and so are those of files that are no Python.
    """
    path = path.absolute()
    if path in below:
        raise OptionError(f'config {path} builds on itself')
    if not path.is_file():
        raise MissingPathError(f'config {below[-1]} builds on a file that is not there: {path}')
    yield path
    for name in direct_bases(path):
        yield from base_files(Path(os.path.normpath(path.parent / name)), (*below, path))


def direct_bases(path: Path) -> list[str]:
    """Return the files that ``_base_`` of a config names."""
    if path.suffix != '.py':
        return []
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except SyntaxError as error:
        raise OptionError(f'config {path}, line {error.lineno}: {error.msg}') from error
    except (OSError, ValueError) as error:
        raise OptionError(f'config {path} is no text of Python: {error}') from error
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    try:
        named = ast.literal_eval(assigned.get('_base_', ast.List([])))
    except ValueError:  # it is computed
        return []
    return [name for name in ([named] if isinstance(named, str) else named) if '::' not in name]


def copy_config(name: str, folder: str | os.PathLike, *, force: bool = False) -> list[Path]:
    """Copy a shipped config, its bases and the lists of images that it names, at the same places below ``folder``.

    Returns the files that were written, the config first. A file that differs stays, unless ``force``.
    """
    from .preflight import check_folder

    source, root = find_config(name).absolute(), shipped_folder().absolute()
    if not source.is_relative_to(root):
        raise OptionError(f'config copy takes a config that comes along, got the file {name}')
    files = [*dict.fromkeys(base_files(source)), *_files_beside(source, root)]
    copies = {path: Path(folder) / path.relative_to(root) for path in files}
    for path, target in copies.items():
        if target.exists() and not force and not (target.is_file() and target.read_bytes() == path.read_bytes()):
            raise ExistingPathError(f'{target} exists; give --force to replace it, or another folder')
        check_folder(target.parent, 'FOLDER')
    for path, target in copies.items():
        shutil.copyfile(path, target)
    return list(copies.values())


def _files_beside(source: Path, root: Path) -> list[Path]:
    """Return the files below the folder of the configs that settings of a config name, such as lists of images."""
    from mmengine.config import Config

    try:
        settings = Config.fromfile(source, import_custom_modules=False).to_dict()
    except ImportError:  # its base is in a toolkit that is not installed
        return []
    named = {Path(value) for _, value in _leaves(settings) if isinstance(value, str)}
    return sorted(path for path in named if path.is_relative_to(root) and path.is_file())


# --- settings --------------------------------------------------------------------------------------------------------


def _described(settings: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Yield ``key = value  # file`` for every setting that a runner reads."""
    from .loading import load_config
    from .options import READ_BY_RUNNER

    layers = {file: load_config(file).to_dict() for file in dict.fromkeys(base_files(path))}
    for key, value in _leaves({name: value for name, value in settings.items() if name in READ_BY_RUNNER}):
        holders = [file for file, layer in layers.items() if look_up(layer, key) == (value,)]
        # The deepest file that has the value already; the config itself comes first.
        origin = os.path.relpath(holders[-1], shipped_folder()) if holders else '--cfg-options'
        yield f'{key} = {value!r}  # {origin}'


def _leaves(node: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f'{where}.{key}' if where else str(key))
    elif isinstance(node, (list, tuple)) and any(isinstance(item, Mapping) for item in node):
        for index, value in enumerate(node):
            yield from _leaves(value, f'{where}.{index}')
    else:
        yield where, node
