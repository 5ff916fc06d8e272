"""``gpu.py`` without a GPU: what it says, and that its yardstick is right and finds what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from parts import FAIL, PASS, Settings, values
from parts.literal import IGNORED, STRENGTH, Problem, literal, make_problem, nearest

from ..reference import as_matrices, eq7_map, expected_covariance
from .conftest import BENCHMARKS

COMMAND = [sys.executable, str(BENCHMARKS / 'gpu.py')]
NO_GPU = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
SETTINGS = Settings('cpu', quick=True, deadline=0.0)


def run(*arguments: str, folder) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, env=NO_GPU, capture_output=True, text=True)


def test_without_a_gpu_it_says_what_it_would_do(tmp_path):
    """Guards a plain checkout, from any folder: a plan, a clear last line, an exit code of its own."""
    done = run(folder=tmp_path)
    assert done.returncode == 2
    assert 'would try' in done.stdout and 'Two ranks hold the statistics' in done.stdout
    assert 'No GPU' in done.stdout and '--device cpu --quick' in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_part_is_named(tmp_path):
    done = run('valeus', folder=tmp_path)
    assert done.returncode == 2
    assert "'valeus'" in done.stderr and 'values, waits' in done.stderr


@pytest.mark.slow
def test_all_parts_on_the_cpu(tmp_path):
    """Guards every part; claims about GPUs are not tried, and no other fails."""
    done = run('--device', 'cpu', '--quick', '--minutes', '30', folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    parts = json.loads((tmp_path / 'work_dirs/gpu/report.json').read_text())['parts']
    outcomes = {claim: verdict[0] for part in parts.values() for claim, verdict in part['verdicts'].items()}
    passed = {claim for claim, outcome in outcomes.items() if outcome == PASS}
    assert passed >= {*values.CLAIMS, 'waits criterion', 'waits toolkits', 'waits iteration', 'ranks', 'tests'}
    assert FAIL not in outcomes.values()


def _covariances(problem: Problem, kind: str) -> torch.Tensor:
    """All rows at once, by the slow reference of the suite."""
    small = [nearest(labels, problem.features[0].shape[2:]) for labels in problem.labels]
    rows = torch.cat([features.movedim(1, -1).flatten(0, -2) for features in problem.features])
    labels = torch.cat([label.flatten() for label in small])
    kind = 'full' if kind == 'low_rank' else kind
    return as_matrices(expected_covariance(rows, labels, len(problem.weight), kind), len(problem.weight))


@pytest.mark.parametrize('kind', ['diagonal', 'full', 'shared', 'identity'])
@pytest.mark.parametrize('augment_at', ['feature', 'label'])
def test_the_yardstick_is_eq_7(kind, augment_at):
    """Guards the truth of all comparisons by an independent one, pixel by pixel."""
    problem = make_problem(of_maps=True, quick=True)
    logits = torch.einsum('nahw,ca->nchw', problem.features[1], problem.weight) + problem.bias.view(1, -1, 1, 1)
    options = dict(augment_at=augment_at, align_corners=True, ignore_index=IGNORED)
    losses = eq7_map(logits, problem.labels[1], problem.weight, _covariances(problem, kind), STRENGTH, **options)
    expected = losses.sum() / (problem.labels[1] != IGNORED).sum()
    torch.testing.assert_close(literal(problem, kind, augment_at)['loss'], expected)


@pytest.mark.parametrize(('factor', 'outcome'), [(1.0, PASS), (1.01, FAIL)])
def test_a_wrong_path_is_found(factor, outcome, monkeypatch):
    """Guards the verdict: a shift that is one per cent too large fails."""

    def loss(logits, labels, shift, augment_at):
        return values.plain_loss(logits, labels, factor * shift, augment_at)

    monkeypatch.setattr(values, 'paths', lambda compiled: [('functions', True, values.by_functions(loss))])
    cases = list(values.compare(SETTINGS, torch.float32))
    assert values.verdict_of(cases, values.TOLERANCE[torch.float32]).outcome == outcome


def test_a_wrong_gradient_is_found(monkeypatch):
    """Guards gradients that are wrong where the loss is right."""

    def loss(logits, labels, shift, augment_at):
        return values.plain_loss(logits, labels, shift.detach(), augment_at)

    monkeypatch.setattr(values, 'paths', lambda compiled: [('functions', True, values.by_functions(loss))])
    cases = list(values.compare(SETTINGS, torch.float32))
    assert values.verdict_of(cases, values.TOLERANCE[torch.float32]).outcome == FAIL


def test_overflow_and_bad_labels():
    assert values.try_overflow('cpu').outcome == PASS
    assert values.try_bad_label('cpu').outcome == PASS
