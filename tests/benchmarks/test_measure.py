"""Time and memory of known calls."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import measure
import pytest
import torch
from measure import Benchmark, compare, interleaved, measure_case, paired_ratio
from workload import Size, ignore_index, street_labels

BENCHMARKS = Path(measure.__file__).parent


def test_runs_are_interleaved():
    """Guards that a drift of the machine's speed hits all variants alike."""
    seen = []
    calls = {name: lambda name=name: seen.append(name) or torch.randn(1 << 20).exp_() for name in 'ab'}
    times = interleaved(calls, 3, 'cpu')
    assert {name: len(runs) for name, runs in times.items()} == {'a': 3, 'b': 3}
    changes = sum(first != second for first, second in pairwise(seen))
    assert changes == 7  # warm-ups of a, of b, then a, b, a, b, a, b


def test_a_ratio_is_taken_run_by_run():
    """Guards against the ratio of two medians, which come from different runs."""
    assert paired_ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == (2.0, 1.0, 3.0)


def test_rows_without_memory(capsys):
    """Guards systems on which the peak cannot be seen."""
    figures = compare('title', {'base': [2.0, 2.0], 'other': [1.0, 3.0]})
    assert figures['other']['ratio'] == {'median': 1.0, 'low': 0.5, 'high': 1.5}
    assert 'peak_mb' not in figures['other']
    assert '1.00 (0.50 to 1.50)' in capsys.readouterr().out


def test_other_systems_are_told_what_is_missing(monkeypatch):
    """Guards macOS and Windows: they run without /proc and glibc, and say so."""
    monkeypatch.setattr(measure, 'CAN_SEE_MEMORY', False)
    monkeypatch.setattr(measure, 'HAS_GLIBC', False)
    memory, allocator = measure.blind_spots('cpu')
    assert 'Peak memory' in memory and 'allocator' in allocator
    benchmark = Benchmark('none.py', lambda case, variant, device: lambda: None, lambda case: ['a', 'b'], ['case'])
    assert set(measure_case(benchmark, 'case', runs=1, device='cpu')) == {'a', 'b'}


@pytest.mark.skipif(not measure.CAN_SEE_MEMORY, reason='the system does not show the peak')
def test_peak_of_a_known_tensor():
    """Guards the unit, and that memory given back before the call does not count."""
    code = "import torch; from measure import peak_memory as p; print(p(lambda: torch.ones(64 << 18), 'cpu'))"
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=120, cwd=BENCHMARKS
    )
    assert 60 < float(run.stdout) < 90


@pytest.mark.parametrize('text', ['N2', 'C19N2', 'N2C19A', 'n2c19'])
def test_a_size_that_cannot_be_read(text):
    with pytest.raises(ValueError, match='reads like N2C19'):
        Size.parse(text)


@pytest.mark.parametrize('classes', [5, 19, 300])
def test_labels_are_classes_or_ignored(classes):
    """Guards many classes, one of which 255 would be."""
    torch.manual_seed(0)
    labels = street_labels(2, classes, 65, 'cpu')
    ignored = labels == ignore_index(classes)
    assert 0.02 < ignored.float().mean() < 0.2
    assert labels[~ignored].min() >= 0 and labels[~ignored].max() < classes
