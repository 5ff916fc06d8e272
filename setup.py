"""Build step of the wheel; everything else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithConfigs(build_py):
    """Put configs/ and tools/ into ``mmseg_isda/.mim`` of the wheel, where MIM and ``mmseg-isda config`` look."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # The repository's own folders serve.
            return
        for name in ('configs', 'tools'):
            target = Path(self.build_lib, 'mmseg_isda', '.mim', name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns('__pycache__'))


setup(cmdclass={'build_py': BuildWithConfigs})
