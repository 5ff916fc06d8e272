"""docs/api.md, which `make docs` writes from the docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PACKAGES = sorted(
    path.parent for path in (REPO / 'mmseg_isda').glob('*/__init__.py') if '__all__' in path.read_text(encoding='utf8')
)


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_every_public_name_is_on_the_page(package):
    """Guards a page that was not written again: run `make docs`."""
    page = (REPO / 'docs' / 'api.md').read_text(encoding='utf8')
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((package / '__init__.py').read_text(encoding='utf8')).body
        if isinstance(node, ast.Assign) and node.targets[0].id == '__all__'
    )
    section = page.partition(f'## `mmseg_isda.{package.name}`')[2].partition('\n## ')[0]
    assert [name for name in names if f'### `{name}`' not in section] == []
