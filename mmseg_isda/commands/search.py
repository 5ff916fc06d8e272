"""The choice of lambda_0: training runs over a set of values, compared by their validation (Fig. 11 of the paper)."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..engine.validations import validations
from ..errors import OptionError
from ..files import move_into_place, temporary_beside
from ..toolkits import MMSEG, TOOLKITS
from .launch import build_runner, isda_losses, launched_rank, prepare_training
from .preflight import iter_datasets, type_name

DEFAULT_LAMBDAS = (0.1, 0.25, 0.5, 0.75, 1.0)
# What may change between the start of a run and its end: where it runs, not what it learns.
NO_PART_OF_A_RUN = ('work_dir', 'resume', 'load_from', 'launcher', 'experiment_name', 'model_wrapper_cfg', 'log_level')
STARTED, RESULT = 'trial.json', 'result.json'


@dataclass(frozen=True)
class Trial:
    """One training run: its settings, its folder, and its score once it is over."""

    lambda_0: float
    seed: int
    folder: Path
    score: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class SearchResult:
    """All runs of a search, the best ``lambda_0``, and the files that were written."""

    trials: tuple[Trial, ...]
    metric: str
    best: float
    table: str
    files: tuple[Path, ...]


def search_lambda(
    config: str | os.PathLike,
    *,
    work_dir: str | os.PathLike,
    lambdas: Sequence[float] = DEFAULT_LAMBDAS,
    seeds: Sequence[int] = (0,),
    metric: str | None = None,
    lower_is_better: bool = False,
    last: int = 1,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    change: Callable[[Config], None] | None = None,
    say: Callable[[str], None] = print,
) -> SearchResult:
    """Trains a config with each value of lambda_0 and each seed, and chooses the value with the best mean score.

    A search that was interrupted goes on when it is called again with the same work dir: runs that are over are not
    repeated, the one that was cut short is resumed from its last checkpoint. To add values or seeds later, name them
    beside the old ones: the table and the curve show those that are named.

    Args:
        config: config file of a model with an ISDA loss; where it has several, all get the same value.
        work_dir: folder of the runs, ``lambda_<value>/seed_<n>``, and of ``search.json`` and ``sensitivity.png``.
        lambdas: values of lambda_0; 0 is plain cross entropy, to compare with.
        seeds: of everything random.
        metric: name of the validation metric, e.g. ``'accuracy/top1'``, ``'mIoU'``; by default the toolkit's usual one.
        lower_is_better: whether the best is the smallest.
        last: the score is the mean over this many last validations.
        options: ``--cfg-options``.
        launcher: as of ``tools/train.py``.
        change: changes the config before anything is built, e.g. to hold out images for validation.
        say: gets a line about each run.

    Raises:
        UserError: for anything that the user can mend.
    """
    _check_values(lambdas, seeds, last)
    work_dir = Path(work_dir)
    say = say if launched_rank() == 0 else lambda line: None
    trials = [Trial(float(v), s, work_dir / f'lambda_{float(v):g}' / f'seed_{s}') for s in seeds for v in lambdas]

    def prepare(trial: Trial) -> tuple[Config, list[str]]:
        return _prepare(trial, config, options, launcher, change)

    cfg, _ = prepare(trials[0])
    metric = metric or TOOLKITS.get(cfg.get('default_scope'), MMSEG).metric
    _check_validation(cfg, last, say)
    done: list[Trial] = []
    for number, trial in enumerate(trials):
        say(f'[{number + 1} of {len(trials)}] lambda_0={trial.lambda_0:g}, seed {trial.seed}{_time_left(done, trials)}')
        cfg, notes = prepare(trial)
        done.append(_run(trial, cfg, notes, metric, last, say))
    return _conclude(done, metric, lower_is_better, last, work_dir)


def _check_values(lambdas: Sequence[float], seeds: Sequence[int], last: int) -> None:
    if not lambdas or not seeds:
        raise OptionError('there must be at least one lambda_0 and one seed')
    wrong = [value for value in lambdas if not (0 <= value < math.inf)]
    if wrong:
        raise OptionError(f'lambda_0 must be a number, 0 or more, got {wrong[0]}')
    for name, values in (('lambda_0', lambdas), ('seed', seeds)):
        twice = [value for value in values if list(values).count(value) > 1]
        if twice:
            raise OptionError(f'{name} {twice[0]} is named twice')
    if last < 1:
        raise OptionError(f'the score must be over at least 1 validation, got {last}')


# --- one run ---------------------------------------------------------------------------------------------------------


def _prepare(trial, config, options, launcher, change) -> tuple[Config, list[str]]:
    cfg, notes = prepare_training(
        config, work_dir=str(trial.folder), resume='auto', options=options, launcher=launcher, seed=trial.seed
    )
    if change is not None:
        change(cfg)
    set_lambda(cfg, trial.lambda_0)
    return cfg, notes


def set_lambda(cfg: Config, lambda_0: float) -> None:
    """Sets lambda_0 of every ISDA loss in a config.

    Raises:
        OptionError: if there is none.
    """
    settings = isda_losses(cfg)
    for node in settings:
        node['lambda_0'] = lambda_0
    if not settings:
        raise OptionError(f'{cfg.filename} has no ISDA loss whose lambda_0 could be searched; name its ISDA twin')


def _check_validation(cfg: Config, last: int, say: Callable[[str], None]) -> None:
    if not cfg.get('val_dataloader') or not cfg.get('val_evaluator'):
        raise OptionError(f'{cfg.filename} has no val_dataloader and val_evaluator to choose lambda_0 by')
    sets = [cfg.get(name, {}).get('dataset') for name in ('val_dataloader', 'test_dataloader')]
    validated, tested = (
        [{key: value for key, value in node.items() if key != 'pipeline'} for _, node in iter_datasets(dataset)]
        for dataset in sets
    )
    if validated == tested and type_name((sets[0] or {}).get('type')) != 'HoldOutDataset':
        say(
            'Note: the config validates on its test images, so the lambda_0 that is chosen has seen them. Hold images '
            'of the training set out to choose by (--hold-out N in MMPretrain).'
        )
    loop = cfg.get('train_cfg', {})
    interval, total = loop.get('val_interval', 1), loop.get('max_epochs') or loop.get('max_iters')
    if total and last > math.ceil(total / interval):
        raise OptionError(
            f'the score is to be the mean of the last {last} validations, but there will be '
            f'{math.ceil(total / interval)} (one every {interval} of {total})'
        )


def _run(trial: Trial, cfg: Config, notes: list[str], metric: str, last: int, say: Callable) -> Trial:
    """Trains, unless the run is over; the score comes from what was written either way."""
    mark = fingerprint(cfg)
    _check_same(trial.folder, mark)
    path = trial.folder / RESULT
    if path.is_file():
        record = json.loads(path.read_text())
        say('  is over already')
    else:
        if launched_rank() == 0:
            write_json(trial.folder / STARTED, {'config': mark})
        begin = time.time()
        history = _train(cfg, notes, metric)
        record = {'config': mark, 'validations': history, 'seconds': time.time() - begin}
        if launched_rank() == 0:
            write_json(path, record)
    steps = sorted(map(int, record['validations']))[-last:]
    scores = [_score(record['validations'], step, metric, path) for step in steps]
    score = statistics.fmean(scores)
    say(f'  {metric} {score:.4f}' + (f' (mean of the last {len(scores)} validations)' if last > 1 else ''))
    return Trial(trial.lambda_0, trial.seed, trial.folder, score, record['seconds'])


def _score(history: Mapping[str, Mapping[str, float]], step: int, metric: str, path: Path) -> float:
    metrics = history[str(step)]
    if metric not in metrics:
        raise OptionError(f'{path} has no metric {metric!r}, but {", ".join(metrics) or "none"}')
    value = metrics[metric]
    return math.nan if value is None else value


def _train(cfg: Config, notes: list[str], metric: str) -> dict[str, dict[str, float | None]]:
    """Trains or resumes a run and returns the metrics of its validations by step."""
    history = dict(type='ValidationHistory', needs=metric, _scope_='mmengine')
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), history]
    # A name of its own, as loggers and message hubs of the process are kept by name.
    cfg.experiment_name = f'{Path(cfg.work_dir).parent.name}_{Path(cfg.work_dir).name}_{time.time_ns()}'
    runner = build_runner(cfg, notes)
    runner.train()
    found = {
        str(step): {key: value if math.isfinite(value) else None for key, value in metrics.items()}
        for step, metrics in validations(runner).items()
    }
    del runner
    gc.collect()  # a runner is full of cycles, and holds the memory of its model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


def fingerprint(cfg: Config) -> str:
    """What a run learns from, in 16 hexadecimal digits: the config without where and how it runs."""
    settings = {key: value for key, value in cfg.to_dict().items() if key not in NO_PART_OF_A_RUN}
    text = json.dumps(settings, sort_keys=True, default=lambda value: getattr(value, '__qualname__', repr(value)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_same(folder: Path, mark: str) -> None:
    for name in (STARTED, RESULT):
        path = folder / name
        if path.is_file() and json.loads(path.read_text())['config'] != mark:
            raise OptionError(
                f'{folder} holds a run of another config or other options, which would not compare: give another '
                f'--work-dir, or remove that folder'
            )
    if not (folder / STARTED).is_file() and any(folder.glob('*.pth')):
        raise OptionError(f'{folder} holds checkpoints that no search has written: give another --work-dir')


def write_json(path: Path, content: Any) -> None:
    """Writes a file that appears whole or not at all."""
    with temporary_beside(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n')
        move_into_place(temporary, path, force=True)


def _time_left(done: Sequence[Trial], trials: Sequence[Trial]) -> str:
    if not done:
        return ''
    seconds = statistics.fmean(trial.seconds for trial in done) * (len(trials) - len(done))
    hours, minutes = divmod(round(seconds / 60), 60)
    return f' (about {hours} h {minutes} min left)' if hours else f' (about {minutes} min left)'


# --- all runs --------------------------------------------------------------------------------------------------------


def summarize(trials: Sequence[Trial]) -> dict[float, tuple[float, float, int]]:
    """Mean, standard deviation over seeds (0 for one) and number of runs by lambda_0, in its order."""
    summary = {}
    for value in sorted({trial.lambda_0 for trial in trials}):
        scores = [trial.score for trial in trials if trial.lambda_0 == value]
        finite = all(map(math.isfinite, scores))
        spread = statistics.stdev(scores) if len(scores) > 1 and finite else 0.0
        summary[value] = (statistics.fmean(scores) if finite else math.nan, spread, len(scores))
    return summary


def best_lambda(summary: Mapping[float, tuple[float, float, int]], lower_is_better: bool) -> float:
    """The value with the best mean; of equal ones the smallest. One with a run that diverged is never chosen.

    Raises:
        OptionError: if every value had a run that diverged.
    """
    means = {value: mean for value, (mean, _, _) in summary.items() if math.isfinite(mean)}
    if not means:
        raise OptionError('no value of lambda_0 gave a finite score in all its runs: the training diverges')
    return min(means, key=lambda value: (means[value] if lower_is_better else -means[value], value))


def _conclude(trials: list[Trial], metric: str, lower_is_better: bool, last: int, work_dir: Path) -> SearchResult:
    summary = summarize(trials)
    best = best_lambda(summary, lower_is_better)
    table = _table(summary, metric, best, trials)
    files = (work_dir / 'search.json', work_dir / 'sensitivity.png')
    if launched_rank() == 0:
        runs = [
            {'lambda_0': t.lambda_0, 'seed': t.seed, 'score': t.score if math.isfinite(t.score) else None}
            for t in trials
        ]
        write_json(files[0], {'metric': metric, 'last': last, 'best': best, 'runs': runs})
        draw_sensitivity(summary, metric, best, files[1])
    return SearchResult(tuple(trials), metric, best, table, files)


def _table(summary: Mapping, metric: str, best: float, trials: Sequence[Trial]) -> str:
    lines = [f'{"lambda_0":>10} {metric:>16} {"std":>8} {"runs":>5}']
    for value, (mean, spread, runs) in summary.items():
        mark = '  <- best' if value == best else ''
        lines.append(f'{value:>10g} {mean:>16.4f} {f"{spread:.4f}" if runs > 1 else "-":>8} {runs:>5}{mark}')
    folders = ', '.join(str(trial.folder) for trial in trials if trial.lambda_0 == best)
    return '\n'.join([*lines, f'best: lambda_0={best:g}, in {folders}'])


def draw_sensitivity(
    summary: Mapping[float, tuple[float, float, int]], metric: str, best: float, path: str | os.PathLike
) -> None:
    """Draws score against lambda_0 with the spread over seeds, as Fig. 11 of the paper; lambda_0=0 as a line.

    Args:
        summary: of :func:`summarize`.
        metric: name of the score.
        best: the value to mark.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [value for value in summary if value > 0]
    means, spreads = ([summary[value][part] for value in values] for part in (0, 1))
    axes.errorbar(values, means, yerr=spreads, marker='o', capsize=3, label='ISDA')
    if 0 in summary:
        axes.axhline(summary[0][0], color='grey', linestyle='--', label='cross entropy')
    axes.plot(best, summary[best][0], marker='*', markersize=14, linestyle='', label=f'best: {best:g}')
    axes.set(xlabel=r'$\lambda_0$', ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend()
    with temporary_beside(Path(path)) as temporary:
        figure.savefig(temporary, format='png', dpi=150)
        move_into_place(temporary, Path(path), force=True)
