"""What `import mmseg_isda` asks of the toolkits that are installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize('error', ["ImportError('no operators')", "AssertionError('MMCV==9 is incompatible')"])
def test_a_broken_mmsegmentation_stops_nobody_else(tmp_path, error):
    """Guards those who classify or detect beside an MMSegmentation whose MMCV does not fit."""
    (tmp_path / 'mmseg').mkdir()
    (tmp_path / 'mmseg' / '__init__.py').write_text(f'raise {error}')
    code = 'import mmseg_isda, mmseg_isda.core, mmseg_isda.engine'
    run = subprocess.run(
        [sys.executable, '-c', f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}'],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert 'cannot be imported, so ISDASegLoss is missing' in run.stderr
