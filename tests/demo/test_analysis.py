"""The page of the analyses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip('jinja2')

from demo.analysis import SECTIONS, plan, render
from mmseg_isda.analysis.main import ANALYSES, parse_args
from mmseg_isda.commands.records import write_json

MOVE = dict(neighbors_that_stay=0.5, same_class=0.9)
NUMBERS = {
    'bound': dict(rows=[dict(at=3, gap_percent=5.25, expected=0.4), dict(at=30, gap_percent=40.0, expected=0.0041)]),
    'features': dict(
        maps=[
            dict(spread_within_over_between=0.3, augmented_that_keep_their_class=None),
            dict(spread_within_over_between=0.2, augmented_that_keep_their_class=0.955),
        ]
    ),
    'spectrum': dict(
        classes={name: dict(effective_rank=rank, eigenvalues=[3, 2, 1]) for name, rank in (('a', 4.2), ('b', 8.0))},
        cheaper={name: dict(lambda_0_factor=6.4, error=[0.2, 0.3]) for name in ('diagonal', 'rank 8')},
    ),
    'directions': dict(moves={'direction 1 +': MOVE, 'random direction': MOVE}),
    'reverse': dict(step_1_feature_error=[0.1, 0.3], step_2_feature_error=[[0.4], [0.6]]),
    'curves': dict(curves=dict(plain=dict(mean=[9.0, 4.0], spread=[1.0, 0.5], runs=3))),
    'compare': dict(scores=dict(estimated={'0': dict(mean=4.0), '∞': dict(mean=3.5)})),
}


def test_every_analysis_is_on_the_page_and_run_once(tmp_path: Path) -> None:
    """A new analysis must come into the demo, by words that its command understands, where the page looks for it."""
    steps = {step.title.removeprefix('analysis: '): step for step in plan(tmp_path) if 'analysis' in step.title}
    assert set(steps) == set(SECTIONS) == set(ANALYSES)
    for what, step in steps.items():
        assert step.output == tmp_path / f'{what}.json'
        assert parse_args([str(word) for word in step.command[1:]]).what == what


def test_page_needs_no_other_file(tmp_path: Path) -> None:
    """It is to be sent around: pictures stand in it, and nothing is fetched."""
    for what, numbers in NUMBERS.items():
        (tmp_path / f'{what}.png').write_bytes(what.encode())
        write_json(tmp_path / f'{what}.json', numbers)
    page = render(tmp_path)
    assert page.count('<img src="data:image/png;base64,') == len(SECTIONS)
    assert all(link.startswith('#') for link in re.findall(r'href="([^"]*)', page))
    assert '//' not in re.sub(r'base64,[^"]*', '', page) and 'url(' not in page
    for sentence in ('5.2 % too high', '4 to 8 of 3 features', 'plain 4.00 % (standard deviation 0.50, 3 runs)'):
        assert sentence in page
