"""What `import mmseg_isda` loads, and what it asks of the toolkits that are installed."""

import subprocess
import sys
from pathlib import Path

import pytest

import mmseg_isda

REPO = Path(__file__).parents[1]


def run(code: str, *folders: Path) -> subprocess.CompletedProcess:
    path = f'import sys; sys.path[:0] = {[str(folder) for folder in (*folders, REPO)]!r}; '
    done = subprocess.run([sys.executable, '-c', path + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def test_core_loads_no_toolkit():
    """Guards PyTorch users, who have no toolkit, or one whose import takes ten seconds."""
    loaded = run('import mmseg_isda, mmseg_isda.core; print(*sys.modules)').stdout.split()
    assert 'mmseg_isda.core.criterion' in loaded
    hosts = {'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmdet', 'cv2', 'matplotlib', 'PIL', 'torchvision', 'sklearn'}
    assert not hosts & set(loaded)


@pytest.mark.parametrize('error', ["ImportError('no operators')", "AssertionError('MMCV==9 is incompatible')"])
def test_a_broken_mmsegmentation_stops_nobody_else(tmp_path, error):
    """Guards those who classify or detect beside an MMSegmentation whose MMCV does not fit."""
    (tmp_path / 'mmseg').mkdir()
    (tmp_path / 'mmseg' / '__init__.py').write_text(f'raise {error}')
    pytest.importorskip('mmengine')
    code = "import mmseg_isda, mmengine.runner; print(mmengine.registry.HOOKS.get('ISDAHook'))"
    assert 'mmseg_isda.engine.hook.ISDAHook' in run(code, tmp_path).stdout


def test_a_plugin_that_cannot_be_imported_is_reported(tmp_path):
    """Guards a host that works by itself: it must stay usable, and say which losses are missing."""
    for name in ('', 'models', 'datasets'):
        (tmp_path / 'mmseg' / name).mkdir()
        (tmp_path / 'mmseg' / name / '__init__.py').touch()
    done = run('import mmseg_isda, mmseg.models, mmseg.datasets', tmp_path)
    assert 'mmseg is installed but mmseg_isda.segmentation cannot be imported' in done.stderr


def test_help_names_the_public_classes():
    """Guards a newcomer who only has the wheel."""
    for name in ('ISDACriterion', 'ISDASegLoss', 'FusedCrossEntropyLoss', 'ISDALoss', 'ISDAHook'):
        assert name in mmseg_isda.__doc__
