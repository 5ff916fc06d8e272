"""The training runs of a sweep: what each one varies, where it lies, whether it is over, and how it is started."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from . import train
from .arguments import CONFIG_SUFFIXES, parse_options
from .records import RESULT, check_trial, read_json

if TYPE_CHECKING:
    from mmengine.config import Config

# What may change between the start of a run and its end: where it runs, not what it learns.
NO_PART_OF_A_RUN = ('work_dir', 'resume', 'launcher', 'experiment_name', 'model_wrapper_cfg', 'log_level')
PROTOCOLS, LOG = 'protocols.json', 'output.log'
BEGIN = '--- start of a command ---'  # in the log of a run, which may be started again
SEED = '{seed}'
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Variant:
    """A config with settings, as they were typed."""

    name: str
    config: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """One training: words of ``mmseg-isda train``, and the fingerprint of what it learns from."""

    variant: Variant
    seed: int
    folder: Path
    words: tuple[str, ...]
    mark: str = ''

    def __str__(self) -> str:
        return f'{self.variant.name}, seed {self.seed}'


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its record, or the last line of a run that failed."""

    run: Run
    record: Mapping[str, Any] | None
    error: str | None = None

    @property
    def diverged(self) -> bool:
        """Whether the training ended with a loss that is no finite number, whatever its score."""
        return bool(self.record) and self.record.get('loss', 0.0) is None


# --- variants --------------------------------------------------------------------------------------------------------


def expand_variants(configs: Sequence[str], settings: Sequence[str]) -> list[Variant]:
    """Return every config with every combination of the values in ``KEY=VALUE,VALUE,...``."""
    values = {}
    for word in settings:
        key, equals, text = word.partition('=')
        parse_options([f'{key}{equals}'], '--set')
        if key in values:
            raise OptionError(f'--set {key} is given twice: name all its values in one')
        values[key] = _split(text)
        _refuse_twins(key, values[key])
    _refuse_twins('config', configs)
    stems = [Path(config).stem for config in configs]
    titles = stems if len(set(stems)) == len(stems) else configs
    lasts = [key.rpartition('.')[2] for key in values]
    short = {key: last if lasts.count(last) == 1 else key for key, last in zip(values, lasts, strict=True)}
    variants = []
    for (config, title), *chosen in product(list(zip(configs, titles, strict=True)), *values.values()):
        settings = dict(zip(values, chosen, strict=True))
        parts = [f'{short[key]}={_canonical(key, text)}' for key, text in settings.items()]
        if len(configs) > 1 or not parts:
            parts = [title, *parts]
        variants.append(Variant(', '.join(parts), config, settings))
    return variants


def _split(text: str) -> list[str]:
    """Return the parts between commas that stand in no bracket."""
    parts, depth = [''], 0
    for letter in text:
        depth += (letter in '([{') - (letter in ')]}')
        if letter == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _canonical(key: str, text: str) -> str:
    """Return a value so that equal ones print alike, and no others do: ``.5`` as ``0.5``."""
    value = parse_options([f'{key}={text}'])[key]
    return repr(value) if isinstance(value, (int, float)) else text


def _refuse_twins(key: str, texts: Sequence[str]) -> None:
    seen: list = []
    for text in texts:
        value = text if key == 'config' else parse_options([f'{key}={text}'], '--set')[key]
        if text == '' or any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in seen):
            named = f'config {text}' if key == 'config' else f'--set {key}={text}'
            raise OptionError(f'{named}: the value is named twice' if text else f'--set {key}: a value is empty')
        seen.append(value)


# --- one run ---------------------------------------------------------------------------------------------------------


def plan_run(variant: Variant, seed: int, work_dir: Path, common: Sequence[str], options: Sequence[str]) -> Run:
    """Return a run, with the words and ``--cfg-options`` that all runs share; ``{seed}`` in them is its seed."""
    folder = work_dir / _folder_name(variant.name) / f'seed_{seed}'
    changes = [*options, *(f'{key}={text}' for key, text in variant.settings.items())]
    words = [variant.config, '--work-dir', str(folder), '--seed', str(seed), '--resume', *common]
    words += ['--cfg-options', *changes] if changes else []
    return Run(variant, seed, folder, tuple(word.replace(SEED, str(seed)) for word in words))


def _folder_name(name: str) -> str:
    """Return a name for a folder; names that differ get folders that differ."""
    safe = re.sub(r'[^\w.+=-]+', '-', name)[:100]
    return safe if safe == name else f'{safe}_{hashlib.sha256(name.encode()).hexdigest()[:6]}'


def configure(run: Run) -> Config:
    """Return the config that a run trains from, checked as ``mmseg-isda train`` checks it."""
    parser = ArgumentParser()
    train.add_arguments(parser)
    try:
        return train.configure(parser.parse_args(run.words))[0]
    except OptionError as error:
        text = str(error)
        for key in run.variant.settings:
            text = text.replace(f'--cfg-options {key}:', f'--set {key}:')
        raise OptionError(text) from None


def fingerprint(cfg: Config, processes: int = 1) -> str:
    """Return what a run learns from in 16 hexadecimal digits: the config without where it runs, and the processes."""
    settings = {key: value for key, value in cfg.to_dict().items() if key not in NO_PART_OF_A_RUN}
    if settings.get('load_from') is None:
        settings.pop('load_from', None)
    if processes > 1:  # each has a batch of its own
        settings['processes'] = processes
    text = json.dumps(settings, sort_keys=True, default=lambda value: getattr(value, '__qualname__', repr(value)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_folder(run: Run) -> None:
    """Refuse a folder that holds another run, checkpoints that no sweep has written, or damaged records."""
    check_trial(run.folder, run.mark)
    read_result(run, tested=False)
    read_protocols(run)


def read_result(run: Run, *, tested: bool) -> dict[str, Any] | None:
    """Return the record of a run that is over; ``None`` if it is not, or if the test images are wanted and missing."""
    path = run.folder / RESULT
    if not path.is_file():
        return None
    record = read_json(path, 'validations', 'test', 'seconds')
    return None if tested and record['test'] is None else record


def read_protocols(run: Run) -> dict[str, Any] | None:
    """Return the scores of a run's last checkpoint at the three protocols; ``None`` if there are none yet."""
    path = run.folder / PROTOCOLS
    return read_json(path, 'protocols')['protocols'] if path.is_file() else None


def training(run: Run, *, test: bool, metric: str) -> list[str]:
    """Return the words of the command that trains a run."""
    record = ['--record', str(run.folder / RESULT), '--trial', run.mark]
    return ['train', *run.words, *record, '--metric', metric, *['--test'] * test]


def scoring(run: Run) -> list[str]:
    """Return the words of the command that scores the last checkpoint of a run at the three protocols.

    Raises:
        OptionError: if the run has left no checkpoint.
    """
    pointer = run.folder / 'last_checkpoint'
    checkpoint = run.folder / Path(pointer.read_text().strip()).name if pointer.is_file() else None
    if checkpoint is None or not checkpoint.is_file():
        raise OptionError(
            f'{run.folder} holds no checkpoint to score: remove it to train anew, or leave out --protocols'
        )
    name = Path(run.variant.config).name  # a copy, as trained, lies in the folder
    config = run.folder / (name if name.endswith(CONFIG_SUFFIXES) else f'{name}.py')
    words = ['test', str(config), str(checkpoint), '--work-dir', str(run.folder), '--protocols']
    return [*words, '--json', str(run.folder / PROTOCOLS), '--overwrite']


def start(run: Run, words: Sequence[str], *, processes: int, environment: Mapping[str, str]) -> Popen:
    """Start a command of this package for a run; what it prints goes to ``output.log`` in its folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}'] if processes > 1 else []
    words = [*words, *['--launcher', 'pytorch'] * (processes > 1)]
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    env = {'OMP_NUM_THREADS': '1', **os.environ, **environment, 'PYTHONPATH': os.pathsep.join(paths)}
    with (run.folder / LOG).open('a') as log:  # what an earlier start printed, or another process, stays
        log.write(f'{BEGIN}\n')
        log.flush()
        command = [sys.executable, *launch, '-m', f'{PACKAGE.name}.commands', *words]
        return Popen(command, stdin=DEVNULL, stdout=log, stderr=STDOUT, env=env)


def failure(run: Run, status: int) -> str:
    """Return why a run failed: the signal that ended it, its line of error, or else the last line in its log."""
    text = (run.folder / LOG).read_text(errors='replace').rpartition(BEGIN)[2]
    lines = [line for line in text.splitlines() if line.strip()]
    # Not any last line: where two commands of one folder meet, the other one goes on printing.
    reason = next((line for line in reversed(lines) if line.startswith('error: ')), lines[-1] if lines else '')
    if status < 0:
        reason = f'killed by signal {-status}' + ' (out of memory?)' * (status == -9)
    reason = reason.removeprefix('error: ') or 'it printed nothing'
    return f'{reason} (exit status {status}; all of it: {run.folder / LOG})'


def score_of(record: Mapping[str, Any], metric: str, *, last: int = 1, test: bool = False) -> float:
    """Return the mean score of the last validations in a record, or the score of the test images; NaN for no number."""
    steps = sorted(record['validations'], key=int)[-last:]
    metrics = [record['test']] if test else [record['validations'][step] for step in steps]
    if not metrics or any(metric not in found for found in metrics):
        names = ', '.join(metrics[0]) if metrics else 'no validation'
        raise OptionError(f'there is no metric {metric!r}; there is: {names}')
    return statistics.fmean(math.nan if found[metric] is None else found[metric] for found in metrics)
