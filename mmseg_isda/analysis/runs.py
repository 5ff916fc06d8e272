"""What finished runs logged, read from their work folders."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..errors import MissingPathError, OptionError
from ..files import check_file
from ..toolkits import toolkit_of

NOT_METRICS = ('step', 'time', 'data_time', 'memory')


@dataclass(frozen=True)
class Run:
    """One run of tools/train.py.

    Attributes:
        path: its work folder.
        name: of its config; runs of one name differ by their seed.
        cfg: the whole config.
        validations: metrics by the epoch, or iteration, that they follow.
    """

    path: Path
    name: str
    cfg: Config
    validations: dict[int, dict[str, float]]

    @property
    def unit(self) -> str:
        """``'epoch'`` or ``'iteration'``."""
        return 'epoch' if 'max_epochs' in (self.cfg.get('train_cfg') or {}) else 'iteration'

    def curve(self, metric: str) -> dict[int, float]:
        """Return a metric over training; of an accuracy the error, 100 minus it.

        Raises:
            OptionError: if the run has no such metric.
        """
        kept = {step: metrics[metric] for step, metrics in sorted(self.validations.items()) if metric in metrics}
        if not kept:
            names = sorted({name for metrics in self.validations.values() for name in metrics})
            raise OptionError(f'--metric: {self.path} has no {metric!r}; it has: {", ".join(names) or "none"}')
        return {step: 100 - value if is_accuracy(metric) else value for step, value in kept.items()}


def is_accuracy(metric: str) -> bool:
    """Whether a metric is shown as an error."""
    return metric.startswith('accuracy')


def title_of(metric: str) -> str:
    """Return how pictures call a metric."""
    return 'validation error, %' if is_accuracy(metric) else metric


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Read every run in some folders, each a work folder or one of work folders.

    Raises:
        MissingPathError: if a folder is not there, or holds no log of a validation.
    """
    runs = []
    for folder in map(Path, folders):
        logs = sorted(folder.rglob('vis_data/scalars.json'))
        if not folder.is_dir() or not logs:
            state = 'holds no log of a run (TIME/vis_data/scalars.json)' if folder.is_dir() else 'does not exist'
            raise MissingPathError(f'{folder} {state}; name what tools/train.py --work-dir wrote')
        runs += [_read_run(path) for path in sorted({log.parents[2] for log in logs})]
    return runs


def _read_run(path: Path) -> Run:
    starts = sorted(path.glob('*/vis_data'))
    validations: dict[int, dict[str, float]] = {}
    for line in (line for start in starts for line in _lines(start / 'scalars.json')):
        if 'loss' not in line and isinstance(line.get('step'), int):
            metrics = {key: value for key, value in line.items() if key not in NOT_METRICS}
            validations.setdefault(line['step'], {}).update(metrics)
    if not validations:
        raise MissingPathError(f'{path} holds no validation yet')
    named = sorted(path.glob('*.py'))
    cfg = Config.fromfile(check_file(starts[-1] / 'config.py', 'config of the run'))
    return Run(path, named[0].stem if named else path.name, cfg, validations)


def _lines(log: Path) -> list[dict]:
    """The entries of a log; a line that was cut off while it was written is left out."""
    entries = []
    for line in log.read_text(encoding='utf-8', errors='replace').splitlines() if log.is_file() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def usual_metric(runs: Sequence[Run]) -> str:
    """Return what users of the toolkit of some runs compare by."""
    return toolkit_of(runs[0].cfg).metric


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation; of one value, 0."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
