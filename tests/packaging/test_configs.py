"""The set of config files: each resolves, and says nothing that its base says already."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytest.importorskip('mmengine')

from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
FILES = sorted(CONFIGS.rglob('*.py'))
# Detectors and generators are trained without ISDA.
LEAVES = [path for path in FILES if not {'_base_', 'coco'} & set(path.parts) and 'wgan' not in path.stem]


def test_the_hook_stands_in_the_runtime_bases_alone():
    """Guards against ``custom_hooks`` that replace those of the base, and against a second hook beside the first."""
    assert [path.relative_to(CONFIGS).as_posix() for path in FILES if 'ISDAHook' in _names(path)] == [
        '_base_/classification_runtime.py',
        '_base_/default_runtime.py',
    ]
    assert not [path.name for path in FILES if 'custom_hooks' in _names(path)]


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_config_resolves_and_has_the_hook(path):
    """Guards a leaf whose base was renamed or whose hooks were lost; reading one needs no toolkit."""
    cfg = Config.fromfile(path, import_custom_modules=False)
    assert cfg.default_hooks.isda == dict(type='ISDAHook')
    assert cfg.default_hooks.checkpoint.type == 'CheckpointHook'
    assert {'model', 'train_dataloader', 'val_evaluator', 'optim_wrapper', 'custom_imports'} <= set(cfg)


def test_a_twin_is_one_statement():
    """Guards twins that repeat what their baseline says: ``_base_`` names one file, one assignment follows."""
    for path in LEAVES:
        base, *rest = ast.parse(path.read_text(encoding='utf8')).body
        if 'isda' in path.stem and isinstance(base.value, ast.Constant):
            assert len(rest) == 1, path.name


def _names(path: Path) -> set[str]:
    """Names and strings of a file."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf8'))))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
