"""Two checkouts beside one another."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .conftest import BENCHMARKS

COMMAND = [sys.executable, str(BENCHMARKS / 'against.py')]


def test_a_folder_that_is_no_checkout(tmp_path):
    done = subprocess.run([*COMMAND, '--other', str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'root of a checkout' in done.stderr and str(tmp_path) in done.stderr


@pytest.mark.slow
def test_this_checkout_against_itself(tmp_path):
    """Guards that both sides answer for each run, with the package of their own checkout."""
    figures = tmp_path / 'figures.json'
    table, variants = 'fused_loss:N1C5A8', ['resize + cross entropy', 'fused, at features']
    options = ['--other', str(BENCHMARKS.parent), '--tables', table, '--variants', *variants, '--runs', '3']
    subprocess.run([*COMMAND, *options, '--threads', '1', '--json', str(figures)], check=True)
    rows = json.loads(figures.read_text())['results'][table]
    assert list(rows) == variants
    assert all(len(row['this_ms']) == len(row['other_ms']) == 3 for row in rows.values())
