"""The curves and the pictures of a report."""

from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from .charts import Series, line_chart
from .parts import DASH, STYLES, is_missing, run_name, section, swatch
from .pictures import (
    BOTH,
    NEITHER,
    ONLY_FIRST,
    ONLY_SECOND,
    VOID_COLOUR,
    Pictures,
    Scene,
    colour_labels,
    compare,
    data_uri,
    shares,
)
from .records import RunRecord

LOSS_REMARK = (
    " ISDA's loss bounds the cross entropy of augmented features from above, so it is larger than plain cross entropy "
    'for the very same network: the gap between the lines says nothing about the fit.'
)
# What is logged, its title, what it is, and whether its points are few enough to mark.
CURVES = (
    ('loss', 'Training loss', 'Sum over the heads.', False),
    ('mIoU', 'Validation mIoU', 'Per cent, single scale, while training.', True),
    (
        'isda_lambda',
        'Strength of ISDA, \u03bb',
        'How far the features are augmented along the covariance of their class.',
        False,
    ),
    (
        'isda_shift',
        'Size of the augmentation',
        "What ISDA adds to the logits of the wrong classes, mean over a batch's pixels (main head).",
        False,
    ),
)


def curves_section(runs: Sequence[RunRecord]) -> str:
    """Loss, mIoU, lambda and augmentation size over the iterations."""
    figures = ''.join(_curve(runs, *curve) for curve in CURVES)
    return section('curves', 'Training', f'<div class="curves">{figures}</div>')


def _curve(runs: Sequence[RunRecord], key: str, title: str, about: str, markers: bool) -> str:
    series = [Series(run.name, run.curve(key), style) for run, style in zip(runs, STYLES, strict=True)]
    with_isda = [bool(run.curve('isda_lambda')) for run in runs]
    if key == 'loss' and with_isda[0] != with_isda[1]:
        about += LOSS_REMARK
    drawn = [index for index in range(2) if series[index].points]
    if drawn:
        legend = ''.join(f'<li>{run_name(runs, index)}</li>' for index in drawn)
        chart = f'<ul class="legend">{legend}</ul>{line_chart(title, series, markers=markers)}'
    else:
        chart = '<p class="missing">Neither run recorded it.</p>'
    return f'<figure class="card"><figcaption><h3>{title}</h3><p>{about}</p></figcaption>{chart}</figure>'


def pictures_section(runs: Sequence[RunRecord], pictures: Pictures) -> str:
    """Image, truth, both predictions and where they differ, for each scene, with the legend of the classes."""
    used = set(
        np.concatenate(
            [np.unique(labels) for scene in pictures.scenes for labels in (scene.truth, *scene.predictions)]
        ).tolist()
    )
    named = zip(pictures.classes, pictures.palette, strict=True)
    items = [(name, colour) for index, (name, colour) in enumerate(named) if index in used]
    items += [('not scored', VOID_COLOUR)] if used - set(range(len(pictures.classes))) else []
    right = [
        (f'only {runs[0].name} is right', ONLY_FIRST),
        (f'only {runs[1].name} is right', ONLY_SECOND),
        ('neither is right', NEITHER),
        ('both are right, or not scored', BOTH),
    ]
    legends = (
        f'<div class="card legends"><div><h3>Classes</h3>{_legend(items)}</div>'
        f'<div><h3>Who is right</h3>{_legend(right)}</div></div>'
    )
    scenes = ''.join(_scene(runs, scene, pictures.palette) for scene in pictures.scenes)
    return section(
        'pictures',
        'Pictures',
        legends + scenes,
        about='Validation images spread evenly over the set, not picked by their results; single scale.',
    )


def _legend(items: Sequence[tuple[str, Sequence[int]]]) -> str:
    return '<ul class="legend">' + ''.join(f'<li>{swatch(c)}{escape(name)}</li>' for name, c in items) + '</ul>'


def _scene(runs: Sequence[RunRecord], scene: Scene, palette: Sequence[Sequence[int]]) -> str:
    panels = [
        (scene.image, 'the image', 'Image', ''),
        (colour_labels(scene.truth, palette), 'true classes', 'Truth', ''),
    ]
    for index, (run, prediction) in enumerate(zip(runs, scene.predictions, strict=True)):
        panels.append(
            (
                colour_labels(prediction, palette),
                f'classes predicted by {run.name}',
                run_name(runs, index),
                f'{_share(scene.accuracy(index))} of the pixels right',
            )
        )
    only = [_share(value) for value in shares(scene)]
    marked = [f'only <span class="run {style}">{text}</span>' for style, text in zip(STYLES, only, strict=True)]
    alt = f'only {runs[0].name} is right on {only[0]} of the pixels, only {runs[1].name} on {only[1]}'
    panels.append((compare(scene), alt, 'Who is right', ', '.join(marked)))
    figures = ''.join(_panel(scene, *panel) for panel in panels)
    return f'<div class="scene"><h3>{escape(scene.name)}</h3><div class="strip">{figures}</div></div>'


def _panel(scene: Scene, picture: Image.Image | np.ndarray, alt: str, label: str, detail: str) -> str:
    height, width = scene.truth.shape
    return (
        f'<figure><img src="{data_uri(picture)}" width="{width}" height="{height}" '
        f'alt="{escape(f"{scene.name}: {alt}")}"><figcaption><b>{label}</b>{detail}</figcaption></figure>'
    )


def _share(per_cent: float) -> str:
    return DASH if is_missing(per_cent) else f'{per_cent:.1f} %'
