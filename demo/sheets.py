"""Sheets of handwritten digits to segment: python -m demo.sheets ROOT.

Each sheet is a form of 5 x 5 cells with a digit of scikit-learn's in each. The label of a cell's pixels is its digit;
lines and margin are void. No digit is on two sheets, so those to train on, to validate on and to test on share none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

from mmseg_isda.commands.outcome import run_command
from mmseg_isda.errors import ExistingPathError
from mmseg_isda.files import write_bytes

SHEETS = dict(train=36, val=17, test=17)  # of 25 digits each
GRID, CELL, DIGIT, MARGIN = 5, 32, 26, 8  # cells of a side, and pixels
PAPER, LINE, INK, VOID = 244, 190, 30, 255
RECORD = 'complete'


def make_sheets(root: Path) -> None:
    """Write ``ROOT/{images,labels}/{train,val,test}/NUMBER.png``, the same ones each time.

    Nothing is done where all of them are.

    Raises:
        ExistingPathError: if the folder holds anything else.
    """
    if (root / RECORD).is_file():
        return
    if root.exists() and (not root.is_dir() or any(path.name not in ('images', 'labels') for path in root.iterdir())):
        raise ExistingPathError(f'{root} holds files, but no set of sheets: name another folder')
    sheets = draw_sheets()
    for split, count in SHEETS.items():
        for number in range(count):
            for kind, pixels in zip(('images', 'labels'), next(sheets), strict=True):
                path = root / kind / split / f'{number:02d}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(cv2.imencode('.png', pixels)[1].tobytes(), path)
    write_bytes(b'', root / RECORD)


def draw_sheets() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield image (H, W, 3) and label (H, W) of one sheet after another, until the digits are used up."""
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.images))
    for chosen in order[: len(order) // GRID**2 * GRID**2].reshape(-1, GRID**2):
        yield draw_sheet(digits.images[chosen], digits.target[chosen])


def draw_sheet(digits: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return image and label of a sheet with these digits (25, 8, 8), 0 to 16, row by row."""
    side = GRID * CELL + 2 * MARGIN
    image, label = np.full((side, side), PAPER, np.uint8), np.full((side, side), VOID, np.uint8)
    for place, (digit, number) in enumerate(zip(digits, classes, strict=True)):
        top, left = (MARGIN + CELL * index for index in divmod(place, GRID))
        cv2.rectangle(image, (left, top), (left + CELL, top + CELL), LINE, 1)
        ink = cv2.resize(digit.astype(np.float32) / 16, (DIGIT, DIGIT), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        inside = (CELL - DIGIT) // 2
        rows, columns = (slice(start + inside, start + inside + DIGIT) for start in (top, left))
        image[rows, columns] = (PAPER + (INK - PAPER) * ink).astype(np.uint8)
        label[rows, columns] = number
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder to make')
    make_sheets(parser.parse_args().root)


if __name__ == '__main__':
    sys.exit(run_command(main))
