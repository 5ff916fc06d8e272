"""The tensor tests of the suite, on the device."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from measure import ROOT

from . import NOT_TRIED, Report, Settings, Verdict, judged

CLAIMS = {'tests': 'The tests of mmseg_isda.core pass on the device.'}
MOST_SECONDS = 180
QUICK_TESTS = 'tests/core/test_labels.py'


def run(settings: Settings) -> Report:
    """Run them by pytest."""
    if not find_spec('pytest'):
        return Report({'tests': Verdict(NOT_TRIED, 'pytest is not installed')})
    tests = QUICK_TESTS if settings.quick else 'tests/core'
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-m', 'not slow', tests]
    limit = min(MOST_SECONDS, settings.seconds_left())
    try:
        done = subprocess.run(
            [*command, '--device', settings.device], cwd=ROOT, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Report({'tests': Verdict(NOT_TRIED, f'{tests} did not end within {limit:.0f} s')})
    lines = (done.stdout or done.stderr).strip().splitlines()
    failures = [line for line in lines if line.startswith(('FAILED', 'ERROR'))]
    why = '; '.join([lines[-1] if lines else f'exit code {done.returncode}', *failures[:5]])
    return Report({'tests': judged(done.returncode == 0, f'{tests}: {why}')}, failures)
