"""README and docs: links and paths exist, snippets run as printed, the lines without make are those of the Makefile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGES = [REPO / 'README.md', REPO / 'CONTRIBUTING.md', *sorted((REPO / 'docs').glob('*.md'))]
HOSTS = ('mmcv', 'mmengine', 'mmseg', 'mmpretrain', 'mmdet', 'cv2', 'matplotlib')


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r'^#+ (.*)$', page.read_text(encoding='utf8'), re.M)
    return {re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-') for title in titles}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_paths_exist(page):
    """Guards files that were moved or renamed."""
    text = page.read_text(encoding='utf8')
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target:
            continue
        name, _, anchor = target.partition('#')
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target
    for name in re.findall(r'(?<![\w/.])(?:configs|tools|benchmarks|requirements)/[\w./-]+\.(?:py|sh|txt)', text):
        assert name.rpartition('/')[2].startswith('NAME') or (REPO / name).is_file(), name


def test_the_readme_is_short():
    assert (REPO / 'README.md').read_text(encoding='utf8').count('\n') <= 160


def test_the_lines_without_make_are_those_of_the_makefile():
    """Guards people without ``make`` against a set-up that nobody uses any more."""
    page = (REPO / 'docs' / 'install.md').read_text(encoding='utf8')
    maintained = (REPO / 'Makefile').read_text(encoding='utf8').partition('# The classic stack')[0]
    for extras in re.findall(r"-e '\.\[(.+?)\]'", maintained):
        assert 'detection' in extras or f'-e ".[{extras}]"' in page, extras
    assert '-m "not slow" --ignore tests/detection' in page


@pytest.mark.slow
@pytest.mark.parametrize('name', ['README.md', 'docs/plain-pytorch.md'])
def test_snippets_run_as_printed(name, tmp_path):
    """Guards the promise that torch and torchvision are enough."""
    pytest.importorskip('torchvision')
    blocks = re.findall(r'```python\n(.*?)```', (REPO / name).read_text(encoding='utf8'), re.S)
    programs = [block for block in blocks if block.startswith(('import', 'from'))]
    blocked = f'import sys\nsys.modules.update(dict.fromkeys({HOSTS}))\n'
    code = blocked + '\n'.join(blocks if name.startswith('docs') else programs)
    assert programs
    subprocess.run(
        [sys.executable, '-c', f'import sys; sys.path.insert(0, {str(REPO)!r})\n{code}'], cwd=tmp_path, check=True
    )
