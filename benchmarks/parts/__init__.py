"""Parts of ``gpu.py``. Each has ``CLAIMS``, what the documents say, and ``run``, which tries them."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

PASS, FAIL, NOT_TRIED = 'pass', 'FAIL', 'not tried'


class Verdict(NamedTuple):
    """What became of a claim, and the figures or the reason."""

    outcome: str
    why: str


def judged(is_right: bool, why: str) -> Verdict:
    """Return pass or FAIL."""
    return Verdict(PASS if is_right else FAIL, why)


class Settings(NamedTuple):
    """How the parts run.

    Attributes:
        device: ``'cuda'``, or ``'cpu'`` to try the parts themselves.
        quick: tiny sizes.
        deadline: ``time.monotonic()`` at which all parts shall have ended.
    """

    device: str
    quick: bool
    deadline: float

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


class Report(NamedTuple):
    """Verdicts by claim, and figures for the JSON file."""

    verdicts: dict[str, Verdict]
    figures: Any = None
