"""Sheets of digits: no digit twice, labels where the digits are, and a folder that is whole or refused."""

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_digits

from demo.sheets import CELL, DIGIT, GRID, MARGIN, PAPER, SHEETS, VOID, draw_sheets, make_sheets
from mmseg_isda.errors import ExistingPathError


@pytest.fixture(scope='module')
def sheets():
    return list(draw_sheets())


def test_there_are_as_many_sheets_as_the_splits_take(sheets):
    assert sum(SHEETS.values()) <= len(sheets)


def test_no_digit_is_on_two_sheets(sheets):
    """A test sheet with a digit that was trained on; some of scikit-learn's digits are equal, so count them."""
    inside = MARGIN + (CELL - DIGIT) // 2
    cells = [
        image[top : top + DIGIT, left : left + DIGIT, 0].tobytes()
        for image, _ in sheets
        for top in range(inside, inside + GRID * CELL, CELL)
        for left in range(inside, inside + GRID * CELL, CELL)
    ]
    images = load_digits().images
    assert len(cells) == GRID**2 * len(sheets) <= len(images)
    assert len(cells) - len(set(cells)) <= len(images) - len(np.unique(images, axis=0))


def test_labels_cover_their_digits(sheets):
    """Against scikit-learn's targets, and ink outside the labels other than lines."""
    targets = load_digits().target[np.random.RandomState(0).permutation(1797)]
    for number, (image, label) in enumerate(sheets[:5]):
        centers = label[MARGIN + CELL // 2 :: CELL, MARGIN + CELL // 2 :: CELL][:GRID, :GRID]
        assert centers.ravel().tolist() == targets[25 * number : 25 * (number + 1)].tolist()
        assert image[label == VOID].min() > PAPER // 2 and image[label != VOID].min() < PAPER // 2
        assert set(np.unique(label)) <= {*range(10), VOID}


def test_a_folder_of_sheets(tmp_path):
    """An interruption leaves a part, which is made up for; a folder of somebody else is left alone."""
    make_sheets(tmp_path / 'data')
    files = sorted(path for path in (tmp_path / 'data').rglob('*.png'))
    assert len(files) == 2 * sum(SHEETS.values())
    first = files[0].read_bytes()
    (tmp_path / 'data' / 'complete').unlink()
    files[0].unlink()
    make_sheets(tmp_path / 'data')
    assert files[0].read_bytes() == first
    assert cv2.imread(str(files[0])).shape == (GRID * CELL + 2 * MARGIN,) * 2 + (3,)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('x')
    with pytest.raises(ExistingPathError, match='mine holds files, but no set of sheets'):
        make_sheets(tmp_path / 'mine')
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['thesis.txt']
