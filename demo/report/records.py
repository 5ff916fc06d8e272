"""What a report knows of a sweep: JSON files that other steps wrote, nothing computed anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_isda.analysis.runs import log_entries
from mmseg_isda.commands.records import read_json
from mmseg_isda.errors import MissingPathError, OptionError
from mmseg_isda.files import check_file

from ..predict import RECORD, find_config

UNCOMPARED = ('work_dir', 'resume', 'load_from', 'experiment_name', 'launcher', 'randomness')
Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Record:
    """A comparison and what its runs logged.

    Attributes:
        comparison: what ``mmseg-isda sweep`` wrote.
        titles: what to call each variant.
        scalars: curves of each run, ``{variant: [{name: [(step, value), ...]}, ...]}``, a run a seed.
        settings: config of each variant, flat: ``{variant: {'model.backbone.depth': '18', ...}}``.
        predictions: what :mod:`demo.predict` wrote; empty if it has not run.
        folder: where the pictures of the predictions lie.
    """

    comparison: Mapping[str, Any]
    titles: Mapping[str, str]
    scalars: Mapping[str, Sequence[Mapping[str, Curve]]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    predictions: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def baseline(self) -> str:
        """Name of the variant that the others are compared with."""
        return self.comparison['baseline']

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The variants, the baseline first."""
        return sorted(self.comparison['variants'], key=lambda entry: entry['name'] != self.baseline)


def load_record(sweep: Path, *, titles: Sequence[str] = (), predictions: Path | None = None) -> Record:
    """Read a sweep.

    Args:
        sweep: ``sweep.json``.
        titles: what to call the variants, in their order; by default their names.
        predictions: folder that :mod:`demo.predict` wrote.

    Raises:
        MissingPathError: if a file is missing.
        OptionError: if a file is damaged, or there is not one title for each variant.
    """
    check_file(sweep, 'sweep', 'mmseg-isda sweep writes it when all runs are over')
    comparison = read_json(sweep, 'baseline', 'metric', 'runs', 'variants', 'notes', 'interval', 'scored_on')
    names = [entry['name'] for entry in comparison['variants']]
    if titles and len(titles) != len(names):
        raise OptionError(f'there must be a title for each of {len(names)} variants, got {len(titles)}')
    found: dict[str, Any] = {}
    if predictions is not None:
        check_file(predictions / RECORD, 'predictions', 'python -m demo.predict writes them')
        found = read_json(predictions / RECORD, 'classes', 'kind', 'pictures', 'right', 'runs', 'shown')
    folders = {name: [] for name in names}
    for run in comparison['runs']:
        if run['error'] is None:
            folders[run['variant']].append(Path(run['folder']))
    return Record(
        comparison=comparison,
        titles=dict(zip(names, titles or names, strict=True)),
        scalars={name: [read_scalars(folder) for folder in own] for name, own in folders.items()},
        settings={name: read_settings(own[0]) for name, own in folders.items() if own},
        predictions=found,
        folder=predictions or Path(),
    )


def read_scalars(folder: Path) -> dict[str, Curve]:
    """Return what a training logged; where a resumed one repeats a step, the last value holds.

    Raises:
        MissingPathError: if it logged nothing.
    """
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    if not files:
        raise MissingPathError(f'{folder} has no log (*/vis_data/scalars.json): name the folder of a training')
    merged: dict[str, dict[int, float]] = {}
    for row in log_entries(files):
        step = row.get('step')
        for key, value in row.items():
            if isinstance(step, int) and isinstance(value, int | float) and math.isfinite(value):
                merged.setdefault(key, {})[step] = float(value)
    return {key: sorted(points.items()) for key, points in merged.items()}


def curve(scalars: Mapping[str, Curve], name: str) -> Curve:
    """Return a scalar by its name; of ``HEAD.name``, main head first, where heads log their own."""
    found = [key for key in scalars if key == name or key.endswith('.' + name)]
    found.sort(key=lambda key: (key != name, not key.startswith('decode_head'), key))
    return scalars[found[0]] if found else []


def read_settings(folder: Path) -> dict[str, str]:
    """Return the config of a training, flat."""
    return flatten(Config.fromfile(find_config(folder), import_custom_modules=False).to_dict())


def flatten(value: Any, path: str = '') -> dict[str, str]:
    """Return a nested config as ``{'a.b.0.c': repr(value)}``."""
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        return {path: repr(value)}
    return {k: v for key, item in items for k, v in flatten(item, f'{path}.{key}' if path else str(key)).items()}


def config_differences(settings: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str | None]]]:
    """Return where configs differ: the path and the value in each, None where one lacks it."""
    paths = dict.fromkeys(path for one in settings for path in one)
    rows = [(path, [one.get(path) for one in settings]) for path in paths]
    return [row for row in rows if len(set(row[1])) > 1 and row[0].split('.')[0] not in UNCOMPARED]
