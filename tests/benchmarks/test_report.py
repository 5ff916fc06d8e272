"""Tables and pictures from figures."""

from __future__ import annotations

import json
import sys

import pytest
import quick
import report
from measure import ROOT

BASE = {'median_ms': 300.0, 'ratio': {'median': 1.0, 'low': 1.0, 'high': 1.0}, 'peak_mb': 200.0, 'memory_ratio': 1.0}
ROW = {'median_ms': 150.0, 'ratio': {'median': 0.5, 'low': 0.4, 'high': 0.7}, 'peak_mb': 50.0, 'memory_ratio': 0.25}
SHORT = {'median_ms': 0.5, 'peak_mb': 1.0}


def test_cells():
    """Guards a ratio to half a millisecond, which would say nothing: there the difference stands."""
    assert report.cell(BASE, BASE, 'default') == '300 ms'
    assert report.cell(ROW, BASE, 'default') == '0.50 (0.40 to 0.70)'
    assert report.memory_cell(ROW, BASE) == '0.25'
    assert report.cell({**ROW, 'median_ms': 2.0}, SHORT, 'default') == '+1.5 ms'
    assert report.memory_cell(ROW, SHORT) == '50 MB'
    assert report.memory_cell({'median_ms': 1.0}, BASE) == '-'


@pytest.mark.parametrize(
    ('case', 'words'),
    [
        ('N2C19', 'two images, 19 classes, 512 features, 97x97 to 769x769'),
        ('N64C1000A2048-vectors', '64 images, 1000 classes, 2048 features'),
        ('deeplabv3_r50-4x512-C150', 'DeepLab-v3 with ResNet-50, four images of 512x512, 150 classes'),
        ('resnet32', 'resnet32'),
    ],
)
def test_titles_are_words(case, words):
    assert report.in_words(case) == words


def test_a_document_is_written_between_its_marks(tmp_path, monkeypatch):
    """Guards what stands around a table, and tables that have no figures."""
    figures = {'default': {'results': {'N2C19': {'cross entropy': BASE, 'ISDA': ROW}}}}
    (tmp_path / 'head_cost.json').write_text(json.dumps(figures))
    document = tmp_path / 'performance.md'
    document.write_text(
        'before\n<!-- head_cost -->\nold\n<!-- end -->\nbetween\n<!-- low_rank -->\nkept\n<!-- end -->\n'
    )
    (tmp_path / 'images').mkdir()
    monkeypatch.setattr(sys, 'argv', ['report.py', '--source', str(tmp_path), '--write', str(document)])
    report.main()
    text = document.read_text()
    assert 'old' not in text and '| ISDA | 0.50 (0.40 to 0.70) | 0.25 |' in text
    assert text.startswith('before\n') and '\nbetween\n' in text and '\nkept\n' in text
    assert (tmp_path / 'images' / 'performance_head_cost.png').stat().st_size > 10_000


def test_make_benchmark_makes_the_tables_of_the_document():
    """Guards a table that nobody can make again, and one that the document does not show."""
    text = (ROOT / 'docs' / 'performance.md').read_text(encoding='utf-8')
    made = {'ranks' if name == 'growth' else name for name in quick.TABLES}
    assert {name for name in made if f'<!-- {name} -->' in text} == made
    assert text.count('<!-- end -->') == len(made)
    for name in quick.TABLES:
        command = quick.command_of(name, trial=False, runs=9, out=ROOT)
        assert (ROOT / 'benchmarks' / f'{quick.TABLES[name][0]}.py').is_file() and command[-1].endswith(f'{name}.json')
