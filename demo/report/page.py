"""From a record to a page: numbers and pictures for the template, which says how they look."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from mmseg_isda.commands.statistics import paired_difference
from mmseg_isda.version import __version__

from . import pictures as painting
from .charts import DARK, LIGHT, STYLES, Line, draw_differences, draw_lines, theme
from .records import Record, config_differences, curve
from .verdict import name_of, number, signed, summary

LOSS_REMARK = (
    " ISDA's loss bounds the cross entropy of augmented features from above, so it is larger than cross entropy for the"
    ' very same network: the gap between the lines says nothing about the fit.'
)
# What is logged, its title and what it is; the score of the validation comes second.
CURVES = (
    ('loss', 'Training loss', 'Sum over the heads.'),
    ('acc_seg', 'Training accuracy', 'Labeled pixels of the batch that are right, per cent.'),
    ('isda_lambda', 'Strength of ISDA, \u03bb', 'How far features are augmented along the covariance of their class.'),
    ('isda_shift', 'Size of the augmentation', 'Mean of what ISDA adds to the logits of the wrong classes.'),
    ('isda_margin', 'Margin', "Mean of the label's plain logit less the largest other one."),
)
FACTS = {
    'Iterations': 'train_cfg.max_iters',
    'Epochs': 'train_cfg.max_epochs',
    'Batch size': 'train_dataloader.batch_size',
    'Labeled images': 'train_dataloader.dataset.num_images',
}
TOOLKITS = ('onedl-mmsegmentation', 'mmsegmentation', 'onedl-mmpretrain', 'mmpretrain', 'torch')
FOLD_AFTER = 14  # a longer list of differing settings starts folded


def render(record: Record, *, title: str, note: str = '', footer: str | None = None) -> str:
    """Return the page.

    Args:
        record: what to show.
        title: heading of the page.
        note: what a reader must know to judge the figures.
        footer: when and by what the page was made; by default now and by this machine.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {'number': number, 'signed': signed}
    styles = {entry['name']: STYLES[i % len(STYLES)] for i, entry in enumerate(record.variants)}
    return environment.get_template('page.html').render(
        title=title,
        note=note,
        footer=describe_machine() if footer is None else footer,
        light=theme(LIGHT),
        dark=theme(DARK),
        metric=name_of(record.comparison['metric']),
        comparison=record.comparison,
        variants=[entry | {'style': styles[entry['name']], 'title': record.titles[entry['name']]}
                  for entry in record.variants],
        differences=differences(record, styles),
        curves=list(curves(record, styles)),
        predictions=predictions(record, styles),
        setup=setup(record),
    )  # fmt: skip


# --- differences -----------------------------------------------------------------------------------------------------


def differences(record: Record, styles: Mapping[str, str]) -> dict[str, Any]:
    """Return sentences, the chart and the table by seed."""
    baseline, *others = record.variants
    scores = {entry['name']: dict(zip(entry['seeds'], entry['scores'], strict=True)) for entry in record.variants}
    metric, rows, lede = name_of(record.comparison['metric']), [], []
    for entry in others:
        lede.append(summary(entry, baseline, record.titles, metric))
        if found := entry['difference']:
            own = paired(scores[entry['name']], scores[baseline['name']])
            rows.append((styles[entry['name']], list(own.values()), found['mean'], found['low'], found['high']))
    seeds = sorted({seed for own in scores.values() for seed in own})
    return {
        'lede': lede,
        'chart': draw_differences(rows, metric) if rows else '',
        'seeds': [(seed, [own.get(seed) for own in scores.values()]) for seed in seeds],
        'by_seed': {name: paired(own, scores[baseline['name']]) for name, own in scores.items()},
    }


def paired(scores: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Return the difference to the baseline for each seed that both have."""
    return {seed: score - baseline[seed] for seed, score in scores.items() if seed in baseline}


# --- curves ----------------------------------------------------------------------------------------------------------


def curves(record: Record, styles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the charts of loss, validation score and the rest of CURVES; those that were logged."""
    metric = record.comparison['metric']
    loss, *rest = CURVES
    charts = []
    for key, title, about in (loss, (metric, f'Validation {name_of(metric)}', 'Per cent, while training.'), *rest):
        lines = {name: over_seeds([curve(own, key) for own in runs], styles[name])
                 for name, runs in record.scalars.items()}  # fmt: skip
        lines = {name: line for name, line in lines.items() if line is not None}
        with_isda = {any(curve(own, 'isda_lambda') for own in runs) for runs in record.scalars.values()}
        if lines:
            label = 'epoch' if key == metric and is_by_epoch(record) else 'iteration'
            charts.append({
                'title': title,
                'about': about + (LOSS_REMARK if key == 'loss' and len(with_isda) > 1 else ''),
                'chart': draw_lines(list(lines.values()), x_label=label, markers=key == metric),
                'alt': '; '.join(f'{record.titles[name]} ends at {number(float(line.mean[-1]), 3)}'
                                 for name, line in lines.items()),
                'names': list(lines),
            })  # fmt: skip
    return charts


def is_by_epoch(record: Record) -> bool:
    """Whether validations are counted in epochs."""
    return any('train_cfg.max_epochs' in settings for settings in record.settings.values())


def over_seeds(runs: Sequence[Sequence[tuple[int, float]]], style: str) -> Line | None:
    """Return mean and standard deviation of curves at each step that they share; None if there is none."""
    by_step: dict[int, list[float]] = {}
    for step, value in (point for points in runs for point in points):
        by_step.setdefault(step, []).append(value)
    drawn = [points for points in runs if points]
    shared = sorted(step for step, values in by_step.items() if len(values) == len(drawn))
    if not shared:
        return None
    values = np.array([by_step[step] for step in shared])
    std = values.std(1, ddof=1) if len(drawn) > 1 else np.zeros(len(shared))
    return Line(style, np.array(shared), values.mean(1), std)


# --- predictions -----------------------------------------------------------------------------------------------------


def predictions(record: Record, styles: Mapping[str, str]) -> dict[str, Any] | None:
    """Return who is right, the pictures and the scores of the classes for the two variants that are shown."""
    found = record.predictions
    if not found:
        return None
    shown = found['shown']
    right = {key: [entry[key] for entry in found['right']] for key in ('first', 'second', 'both', 'neither')}
    is_dense = found['kind'] == 'pixels'
    scenes = [(_scene if is_dense else _item)(record, entry) for entry in found['pictures']]
    used = {index for scene in scenes for index in scene['used']}
    colors = found['palette'] or [painting.VOID_COLOR] * len(found['classes'])
    return {
        'unit': found['kind'],
        'shown': [{'title': record.titles[name], 'style': styles[name]} for name in shown],
        'right': {key: (statistics.fmean(v), statistics.stdev(v) if len(v) > 1 else None)
                  for key, v in right.items() if v},
        'colors': {'first': painting.ONLY_FIRST, 'second': painting.ONLY_SECOND, 'both': painting.BOTH,
                   'neither': painting.NEITHER},
        'seed': found['right'][0]['seed'] if found['right'] else None,
        'scenes': scenes,
        'legend': [(name, colors[i]) for i, name in enumerate(found['classes']) if i in used]
        + [('not scored', painting.VOID_COLOR)] * (painting.IGNORED in used),
        'classes': [_class_row(record, index, name, colors[index]) for index, name in enumerate(found['classes'])],
        'is_dense': is_dense,
    }  # fmt: skip


def _class_row(record: Record, index: int, name: str, color: Sequence[int]) -> dict[str, Any]:
    """Return mean scores of a class and their paired difference."""
    first, second = (
        {run['seed']: run['scores'][index] for run in record.predictions['runs'] if run['variant'] == variant}
        for variant in record.predictions['shown']
    )
    own = [{seed: math.nan if value is None else value for seed, value in scores.items()} for scores in (first, second)]
    means = [statistics.fmean(scores.values()) if scores else math.nan for scores in own]
    return {'name': name, 'color': color, 'means': means, 'difference': paired_difference(own[1], own[0])}


def read_maps(record: Record, entry: Mapping[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a test image (H, W, 3) in RGB, and its label maps: the truth and both predictions."""
    image = cv2.cvtColor(cv2.imread(str(record.folder / entry['image'])), cv2.COLOR_BGR2RGB)
    paths = (entry['truth'], *entry['predictions'].values())
    return image, [cv2.imread(str(record.folder / path), cv2.IMREAD_UNCHANGED) for path in paths]


def _scene(record: Record, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the panels of a test image with its label maps."""
    image, maps = read_maps(record, entry)
    palette = record.predictions['palette']
    first, second, only_first, only_second = painting.shares(*maps)
    embedded = [image, *(painting.color_labels(labels, palette) for labels in maps), painting.compare(image, *maps)]
    height, width = image.shape[:2]
    return {
        'name': entry['name'],
        'size': (width, height),
        'sources': [painting.data_uri(picture) for picture in embedded],
        'accuracy': (first, second),
        'only': (only_first, only_second),
        'used': np.unique(np.stack(maps)).tolist(),
    }


def _item(record: Record, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a test image with one label and what two networks say."""
    image = cv2.imread(str(record.folder / entry['image']), cv2.IMREAD_UNCHANGED)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image
    classes = record.predictions['classes']
    said = [(classes[label], label == entry['truth']) for label in entry['predictions'].values()]
    source = painting.data_uri(painting.Image.fromarray(image))
    return {'name': entry['name'], 'source': source, 'truth': classes[entry['truth']], 'said': said, 'used': []}


# --- what was compared -----------------------------------------------------------------------------------------------


def setup(record: Record) -> dict[str, Any]:
    """Return what the variants have in common and where their configs differ."""
    names = [name for name in (entry['name'] for entry in record.variants) if name in record.settings]
    runs = [run for run in record.comparison['runs'] if run['error'] is None]
    seconds = [run['seconds'] for run in runs if run.get('seconds')]
    facts = {label: [record.settings[name].get(path) for name in names] for label, path in FACTS.items()}
    facts['Seeds'] = [', '.join(str(run['seed']) for run in runs if run['variant'] == name) for name in names]
    if seconds:
        facts['Training time of a run'] = [f'{statistics.fmean(seconds):.0f} s on average'] * len(names)
    return {
        'names': names,
        'facts': {label: values for label, values in facts.items() if any(values)},
        'differences': config_differences([record.settings[name] for name in names]),
        'fold_after': FOLD_AFTER,
    }


def describe_machine() -> str:
    """Return when and with what a page was written, and on what machine."""
    found = ', '.join(f'{name} {known}' for name in TOOLKITS if (known := _version(name)))
    return (
        f'Written on {date.today().isoformat()} by mmseg_isda {__version__} with {found}, on {_processor()}, '
        f'{os.cpu_count()} CPUs, {platform.system()}. The page loads nothing from outside.'
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the processor, where the system tells it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    named = next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), '')
    return named or platform.processor() or platform.machine()
