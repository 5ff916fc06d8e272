"""The report on two runs: one HTML page that needs nothing but itself."""

import os
import tempfile
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from mmseg_isda.errors import ExistingPathError

from .figures import curves_section, pictures_section
from .parts import format_difference, format_percent, protocol_label, run_name
from .pictures import Pictures
from .records import RunRecord
from .tables import classes_section, scores_section, setup_section


def render_report(
    runs: Sequence[RunRecord],
    pictures: Pictures | None = None,
    *,
    title: str | None = None,
    note: str = '',
    footer: str = '',
) -> str:
    """Compare two runs on one self-contained HTML page.

    Args:
        runs: The baseline, then the run that is compared with it.
        pictures: Scenes with the predictions of both runs, in the same order.
        title: The page's heading.
        note: What the reader must know to judge the figures.
        footer: When, where and by what the page was made.

    Raises:
        ValueError: if there are not two runs, or a scene has not two predictions.
    """
    if len(runs) != 2:
        raise ValueError(f'runs: expected two runs to compare, got {len(runs)}')
    if pictures and any(len(scene.predictions) != 2 for scene in pictures.scenes):
        raise ValueError('pictures: expected two predictions in each scene, one a run, in the order of runs')
    title = title or f'{runs[0].name} and {runs[1].name}'
    sections = [scores_section(runs), curves_section(runs), classes_section(runs, pictures), setup_section(runs)]
    if pictures and pictures.scenes:
        sections.insert(1, pictures_section(runs, pictures))
    body = [_header(runs, title, note), '<main>', *filter(None, sections), '</main>']
    body += [f'<footer>{escape(footer)}</footer>'] if footer else []
    template = Template(files(__package__).joinpath('page.html').read_text(encoding='utf-8'))
    return template.substitute(title=escape(title), body='\n'.join(body))


def write_report(path: str | Path, html: str, *, overwrite: bool = False) -> Path:
    """Write a page whole or not at all.

    Raises:
        FileExistsError: if there is such a file and ``overwrite`` is not set.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ExistingPathError(f'{path} is there already; name another file, or give --overwrite (overwrite=True)')
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'w', encoding='utf-8') as file:
            file.write(html)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _header(runs: Sequence[RunRecord], title: str, note: str) -> str:
    remark = f'<p class="note">{escape(note)}</p>' if note else ''
    return f'<header><h1>{escape(title)}</h1>{_result(runs)}{remark}</header>'


def _result(runs: Sequence[RunRecord]) -> str:
    """One sentence with the figures of the first protocol that both runs have."""
    protocol = next((key for key in runs[0].scores if key in runs[1].scores), None)
    if protocol is None:
        return ''
    first, second = (run.scores[protocol].get('mIoU') for run in runs)
    return (
        f'<p class="lede">{run_name(runs, 0)} reaches <b>{format_percent(first)}</b> mIoU and {run_name(runs, 1)} '
        f'<b>{format_percent(second)}</b> ({protocol_label(protocol).lower()}): a difference of '
        f'{format_difference(first, second)}.</p>'
    )
