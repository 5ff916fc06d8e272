"""What a report knows of a run: read from its work folder, nothing computed anew."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_isda.errors import MissingPathError, OptionError
from mmseg_isda.files import check_file

Curve = Sequence[tuple[int, float]]

_UNCOMPARED = ('work_dir', 'resume', 'load_from', 'experiment_name', 'launcher')
_LOG_TIME = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.MULTILINE)


@dataclass(frozen=True)
class RunRecord:
    """One training run and its scores.

    Args:
        name: What the run is called in the report.
        config: Name of its config.
        scalars: ``{name: [(iteration, value), ...]}``, as MMEngine logs them.
        scores: ``{protocol: {'mIoU', 'mAcc', 'aAcc', 'IoU': {class: value}}}`` in per cent, as
            ``tools/test.py --protocols --json`` writes them; empty when the run is not scored yet.
        facts: ``{what: value}`` for the table of what was compared, in that order.
        settings: The config, flattened to ``{'model.backbone.depth': '18', ...}``.
    """

    name: str
    config: str
    scalars: Mapping[str, Curve] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def curve(self, name: str) -> list[tuple[int, float]]:
        """The finite points of the scalar ``name``; of ``HEAD.name``, main head first, where heads log their own."""
        found = [key for key in self.scalars if key == name or key.endswith('.' + name)]
        found.sort(key=lambda key: (key != name, not key.startswith('decode_head'), key))
        points = self.scalars[found[0]] if found else ()
        return [(step, value) for step, value in points if math.isfinite(value)]


def load_run(work_dir: str | Path, *, name: str | None = None, scores: str | Path | None = None) -> RunRecord:
    """Read a run of MMEngine from its work folder.

    Args:
        work_dir: The folder that ``tools/train.py --work-dir`` wrote.
        name: What to call the run; by default the folder's name.
        scores: What ``tools/test.py --protocols --json`` wrote; by default ``WORK_DIR/scores.json`` if there is one.

    Raises:
        FileNotFoundError: if the folder, its config, its log of scalars, or the ``scores`` named is missing.
        ValueError: if ``scores`` is not such a file.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise MissingPathError(f'work_dir: no folder {work_dir}; name the --work-dir of a tools/train.py run')
    starts = _training_starts(work_dir)
    settings = flatten(Config.fromfile(find_config(work_dir)).to_dict())
    scalars = _read_scalars([start / 'vis_data' / 'scalars.json' for start in starts])
    logs = [path.read_text(encoding='utf-8', errors='replace') for start in starts for path in start.glob('*.log')]
    named = sorted(path.stem for path in work_dir.glob('*.py'))
    return RunRecord(
        name=name or work_dir.name,
        config=named[0] if named else 'config.py',
        scalars=scalars,
        scores=_read_scores(work_dir, scores),
        facts=_facts(settings, scalars, logs),
        settings=settings,
    )


def find_config(work_dir: str | Path) -> Path:
    """The whole config of a run as its last start dumped it, changes from the command line included.

    Raises:
        FileNotFoundError: if there is none.
    """
    start = _training_starts(Path(work_dir))[-1]
    return check_file(start / 'vis_data' / 'config.py', 'work_dir: config')


def find_checkpoint(work_dir: str | Path) -> Path:
    """The last checkpoint of a run, found also when the folder has been moved since.

    Raises:
        FileNotFoundError: if there is none.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    check_file(pointer, 'work_dir:', 'training writes it with its first checkpoint')
    named = Path(pointer.read_text(encoding='utf-8').strip())
    beside = Path(work_dir) / named.name
    return beside if beside.is_file() else check_file(named, f'{pointer} names a checkpoint that is not there:')


def _training_starts(work_dir: Path) -> list[Path]:
    """The folders that the starts of a training left, oldest first; those of tests have no logged loss."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    starts = [path.parents[1] for path in logs if '"loss"' in path.read_text(encoding='utf-8', errors='replace')]
    if not starts:
        raise MissingPathError(
            f'work_dir: {work_dir} holds no training log (*/vis_data/scalars.json with a loss); tools/train.py writes '
            f'it, where vis_backends has a LocalVisBackend'
        )
    return starts


def flatten(value: Any, path: str = '') -> dict[str, str]:
    """A nested config as ``{'a.b.0.c': repr(value)}``."""
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    else:
        return {path: repr(value)}
    return {k: v for key, item in items for k, v in flatten(item, f'{path}.{key}' if path else str(key)).items()}


def config_differences(first: RunRecord, second: RunRecord) -> list[tuple[str, str | None, str | None]]:
    """Where two configs differ: ``(path, value in the first, value in the second)``, None where one lacks it."""
    paths = dict.fromkeys([*first.settings, *second.settings])
    rows = ((path, first.settings.get(path), second.settings.get(path)) for path in paths)
    return [row for row in rows if row[1] != row[2] and row[0].split('.')[0] not in _UNCOMPARED]


def _read_scalars(files: Sequence[Path]) -> dict[str, list[tuple[int, float]]]:
    """Merge the logs of all starts of a run: a resumed run repeats steps, and what came last holds."""
    merged: dict[str, dict[int, float]] = {}
    for line in (line for file in files for line in file.read_text(encoding='utf-8', errors='replace').splitlines()):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a run that was cut off while it wrote
            continue
        step = row.pop('step', None)
        for key, value in row.items():
            if isinstance(step, int) and isinstance(value, int | float):
                merged.setdefault(key, {})[step] = float(value)
    return {key: sorted(points.items()) for key, points in merged.items()}


def _read_scores(work_dir: Path, scores: str | Path | None) -> dict[str, Any]:
    path = Path(scores) if scores else work_dir / 'scores.json'
    if not scores and not path.is_file():
        return {}
    check_file(path, 'scores:', f'tools/test.py CONFIG CHECKPOINT --protocols --json {path} writes it')
    try:
        protocols = json.loads(path.read_text(encoding='utf-8'))['protocols']
        return {str(key): dict(value) for key, value in protocols.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f'scores: {path} is not what tools/test.py --protocols --json writes; score the run again'
        ) from error


def _facts(settings: Mapping[str, str], scalars: Mapping[str, Curve], logs: Sequence[str]) -> dict[str, str]:
    """Iterations, batch, seed, time, device and versions, each only if the run's own records tell it."""
    text = logs[-1] if logs else ''
    done = str(scalars['loss'][-1][0])
    planned = settings.get('train_cfg.max_iters', done)
    facts = {
        'Iterations': done if done == planned else f'{done} logged of {planned}',
        'Batch size': settings.get('train_dataloader.batch_size'),
        'Processes': _logged(text, 'GPU number'),  # so named by MMEngine, on a CPU too
        'Seed': _logged(text, 'seed'),
        'Training time': _duration(logs),
        'Device': _logged(text, r'GPU [\d,]+') or ('CPU' if text else None),
        'Python': (_logged(text, 'Python') or '').partition(' ')[0],  # without the compiler's name
        'PyTorch': _logged(text, 'PyTorch'),
        'MMEngine': _logged(text, 'MMEngine'),
    }
    return {key: value for key, value in facts.items() if value}


def _logged(text: str, key: str) -> str | None:
    match = re.search(rf'^    {key}: (.+)$', text, re.MULTILINE)
    return match.group(1).strip() if match else None


def _duration(logs: Sequence[str]) -> str | None:
    """Wall-clock time of all starts, from the first line of each log to its last, validation in between included."""
    times = [_LOG_TIME.findall(text) for text in logs]
    ends = [[datetime.strptime(found[i], '%Y/%m/%d %H:%M:%S') for i in (0, -1)] for found in times if found]
    seconds = sum((last - first).total_seconds() for first, last in ends)
    return format_duration(seconds) if seconds else None


def format_duration(seconds: float) -> str:
    """``75`` -> ``'1 min 15 s'``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, 'h'), (minutes, 'min'), (rest if not hours else 0, 's')]
    return ' '.join(f'{value} {unit}' for value, unit in parts if value) or '0 s'
