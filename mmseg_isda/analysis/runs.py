"""What finished runs logged, read from their work folders."""

from __future__ import annotations

import json
import statistics
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..commands.runs import fingerprint
from ..errors import MissingPathError, OptionError
from ..files import check_file
from ..toolkits import toolkit_of

NOT_METRICS = ('step', 'time', 'data_time', 'memory')


@dataclass(frozen=True)
class Run:
    """One run of tools/train.py."""

    path: Path  # its work folder
    name: str  # of its config, and of its folder where runs of that config differ by more than their seed
    cfg: Config
    validations: dict[int, dict[str, float]]  # metrics by the epoch, or iteration, that they follow

    @property
    def unit(self) -> str:
        """``'epoch'`` or ``'iteration'``."""
        return 'epoch' if 'max_epochs' in (self.cfg.get('train_cfg') or {}) else 'iteration'

    def curve(self, metric: str) -> dict[int, float]:
        """Return a metric over training; of an accuracy the error, 100 minus it."""
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
    return 'Validation error, %' if is_accuracy(metric) else f'Validation {metric}'


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation; of one value, 0."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def add_run_options(parser: ArgumentParser) -> None:
    """Add what names runs, and the metric to draw."""
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work folders, or folders of such')
    parser.add_argument('--metric', help="what to draw (the toolkit's usual one)")


def runs_and_metric(args: Namespace) -> tuple[list[Run], str]:
    """Return the runs that the command line names, and the metric to draw of them."""
    runs = read_runs(args.runs)
    metric = args.metric or toolkit_of(runs[0].cfg).metric
    if metric is None:
        raise OptionError('there is no usual metric of such runs: name one by --metric')
    return runs, metric


def read_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read every run in some folders, each a work folder or one of work folders.

    A run that ended before others of its name did is left out, and named on stderr.
    """
    runs = []
    for folder in map(Path, folders):
        paths = sorted({log.parents[2] for log in folder.rglob('vis_data/scalars.json')})
        if not paths:
            state = 'holds no log of a run (TIME/vis_data/scalars.json)' if folder.is_dir() else 'does not exist'
            raise MissingPathError(f'{folder} {state}; name what tools/train.py --work-dir wrote')
        runs += map(_read_run, paths)
    return _finished(_tell_apart(runs))


def _tell_apart(runs: list[Run]) -> list[Run]:
    """Add the folder to the names of runs of one config whose settings differ."""
    kinds: dict[str, set[str]] = {}
    for run in runs:
        kinds.setdefault(run.name, set()).add(fingerprint(Config(_without_seeds(run.cfg.to_dict()))))
    return [replace(run, name=f'{run.name}: {_variant(run.path)}') if len(kinds[run.name]) > 1 else run for run in runs]


def _finished(runs: list[Run]) -> list[Run]:
    ends: dict[str, int] = {}
    for run in runs:
        ends[run.name] = max(ends.get(run.name, 0), max(run.validations))
    kept = []
    for run in runs:
        if max(run.validations) == ends[run.name]:
            kept.append(run)
            continue
        end = f'{run.unit} {max(run.validations)} of {ends[run.name]}'
        print(f'left out: {run.path} was validated up to {end} only', file=sys.stderr)
    return kept


def _variant(path: Path) -> str:
    return path.parent.name if path.name.startswith('seed_') else path.name


def _without_seeds(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_seeds(value) for key, value in node.items() if key not in ('seed', 'randomness')}
    return [_without_seeds(item) for item in node] if isinstance(node, (list, tuple)) else node


def _read_run(path: Path) -> Run:
    validations: dict[int, dict[str, float]] = {}
    for line in log_entries(sorted(path.glob('*/vis_data/scalars.json'))):
        if 'loss' not in line and isinstance(line.get('step'), int):
            metrics = {key: value for key, value in line.items() if key not in NOT_METRICS}
            validations.setdefault(line['step'], {}).update(metrics)
    if not validations:
        raise MissingPathError(f'{path} holds no validation yet')
    named = sorted(path.glob('*.py'))
    last = max(path.glob('*/vis_data'))
    cfg = Config.fromfile(check_file(last / 'config.py', 'config of the run'))
    return Run(path, named[0].stem if named else path.name, cfg, validations)


def log_entries(logs: Iterable[Path]) -> Iterable[dict[str, Any]]:
    """Yield the entries of logs; a line that was cut off while it was written is left out."""
    for line in (line for log in logs for line in log.read_text(encoding='utf-8', errors='replace').splitlines()):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
