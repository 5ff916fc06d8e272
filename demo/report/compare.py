"""From two work folders to a page: what tools/report.py does."""

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmseg_isda.errors import ExistingPathError
from mmseg_isda.version import __version__

from .page import render_report, write_report
from .pictures import load_pictures
from .records import find_checkpoint, find_config, load_run
from .tables import text_table

ONE_RUN_EACH = (
    'One training run each. Runs that differ in nothing but the seed differ too: judge a small difference only after '
    'repeating both with several seeds.'
)
TOOLBOXES = (('MMSegmentation', ('onedl-mmsegmentation', 'mmsegmentation')), ('MMCV', ('onedl-mmcv', 'mmcv')))


def compare_runs(
    work_dirs: Sequence[str | Path],
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    scores: Sequence[str | Path] | None = None,
    pictures: int = 5,
    title: str | None = None,
    note: str | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, str]:
    """Write the report on two runs.

    Args:
        work_dirs: Work folders of the baseline and of the other run.
        out: The page.
        names: What to call the runs; by default the names of the folders.
        scores: Files of scores; by default ``scores.json`` in each folder, if there.
        pictures: How many validation images to show; with 0 no network is loaded.
        title: The page's heading.
        note: What the reader must know to judge the figures; by default that there is one run each.
        device: Where the pictures are predicted.
        overwrite: Replace an existing page.

    Returns:
        The page's path and the scores as a table for the terminal.

    Raises:
        UserError: if a file is missing or wrong, ``out`` exists, or the runs cannot be compared.
    """
    if Path(out).exists() and not overwrite:  # known before minutes of work, not after
        raise ExistingPathError(f'{out} is there already; name another file, or give --overwrite')
    names, scores = names or (None, None), scores or (None, None)
    runs = [load_run(w, name=n, scores=s) for w, n, s in zip(work_dirs, names, scores, strict=True)]
    shown = None
    if pictures > 0:
        shown = load_pictures([(find_config(w), find_checkpoint(w)) for w in work_dirs], count=pictures, device=device)
    note = ONE_RUN_EACH if note is None else note
    html = render_report(runs, shown, title=title, note=note, footer=describe_machine())
    return write_report(out, html, overwrite=overwrite), text_table(runs)


def describe_machine() -> str:
    """When and with what a page was written, and on what machine."""
    found = ', '.join(f'{name} {_version(packages)}' for name, packages in TOOLBOXES)
    cores = os.cpu_count() or 1
    return (
        f'Written on {date.today().isoformat()} by mmseg_isda {__version__} with {found}, on {_processor()}, '
        f'{cores} core{"s" if cores > 1 else ""}, {platform.system()}. The page loads nothing from outside.'
    )


def _version(packages: Sequence[str]) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return '(unknown version)'


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    named = next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), '')
    return named or platform.processor() or platform.machine()
