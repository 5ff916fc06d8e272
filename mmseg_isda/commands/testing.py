"""What testing adds to :mod:`.launch`: the checkpoint, test-time augmentation, and what is written of the results."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ..checkpoints.reading import read_checkpoint
from ..errors import ExistingPathError, OptionError
from ..files import is_remote
from .launch import prepare_config
from .preflight import check_data, iter_datasets, type_name

TTA_MODELS = {'mmseg': 'SegTTAModel', 'mmpretrain': 'AverageClsScoreTTA', 'mmdet': 'DetTTAModel'}
# Each toolkit's hook that paints predictions, turned on; and its setting for the folder, where it has one.
SHOW_HOOKS = {
    'mmseg': (dict(type='SegVisualizationHook', draw=True, interval=1), None),
    'mmdet': (dict(type='DetVisualizationHook', draw=True), 'test_out_dir'),
    'mmpretrain': (dict(type='VisualizationHook', enable=True, interval=1), 'out_dir'),
}


def prepare_testing(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
) -> tuple[Config, list[str]]:
    """Makes the config that a runner tests a checkpoint with, and checks what can be checked before it is built.

    Args:
        config: config file of MMSegmentation, MMPretrain or MMDetection.
        checkpoint: a local file.
        work_dir: folder of logs.
        out: folder for predicted labels as PNG images (segmentation).
        show_dir: folder for predictions painted over the images.
        overwrite: replace what ``out`` and ``show_dir`` hold.
        options: ``--cfg-options``.
        launcher: see :func:`~mmseg_isda.commands.launch.set_launcher`.

    Returns:
        The config and the notes for the log.

    Raises:
        UserError: for anything that the user can mend.
    """
    cfg, notes = prepare_config(config, work_dir, options, launcher)
    if is_remote(str(checkpoint)):
        raise OptionError(f'checkpoint {checkpoint} must be a local file; download it first')
    read_checkpoint(checkpoint)
    cfg.load_from, cfg.resume = str(checkpoint), False
    if not cfg.get('test_dataloader'):
        raise OptionError(f'config {config} has no test_dataloader, so there is nothing to test on')
    check_data(cfg, ('test_dataloader',))
    if out:
        refuse_existing(out, '--out', overwrite)
        set_out(cfg, out)
    if show_dir:
        refuse_existing(show_dir, '--show-dir', overwrite)
        set_show_dir(cfg, show_dir)
    return cfg, [note for note in notes if note]


def refuse_existing(path: str | os.PathLike, option: str, overwrite: bool) -> None:
    """Raises ExistingPathError if ``path`` is a file, or a folder with something in it, unless ``overwrite``."""
    path = Path(path)
    if not overwrite and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ExistingPathError(f'{option} {path} already holds results; name another place, or give --overwrite')


def set_out(cfg: Config, folder: str) -> None:
    """Has predicted labels written as PNG images.

    Raises:
        OptionError: if the config has no IoUMetric, which writes them.
    """
    evaluator = cfg.get('test_evaluator') or []
    metrics = [evaluator] if isinstance(evaluator, Mapping) else list(evaluator)
    writer = next((metric for metric in metrics if type_name(metric.get('type')) == 'IoUMetric'), None)
    if writer is None:
        names = ', '.join(type_name(metric.get('type')) for metric in metrics) or 'none'
        raise OptionError(f'--out writes labels of segmentation and needs an IoUMetric in test_evaluator, got {names}')
    writer['output_dir'] = folder


def set_show_dir(cfg: Config, folder: str) -> None:
    """Has predictions painted over the images by the toolkit's own visualization hook, added if need be.

    Raises:
        OptionError: if the config has no visualizer.
    """
    if not cfg.get('visualizer'):
        raise OptionError(
            '--show-dir needs a visualizer in the config, e.g. visualizer=dict(type="SegLocalVisualizer", '
            'vis_backends=[dict(type="LocalVisBackend")], name="visualizer")'
        )
    settings, folder_key = SHOW_HOOKS[cfg.get('default_scope', 'mmseg')]
    hooks = ConfigDict(cfg.get('default_hooks') or {})
    hooks.visualization = ConfigDict(hooks.get('visualization') or {}) | settings
    if folder_key is None:
        cfg.visualizer['save_dir'] = folder
    else:
        hooks.visualization[folder_key] = folder
    cfg.default_hooks = hooks


def set_pipeline(cfg: Config, pipeline: list) -> None:
    """Gives every data set of the test loader another pipeline."""
    for _, dataset in iter_datasets(cfg.test_dataloader.dataset):
        dataset['pipeline'] = pipeline


def wrap_for_tta(cfg: Config) -> None:
    """Wraps the model by the config's ``tta_model``, or by the usual one of its toolkit."""
    default = dict(type=TTA_MODELS.get(cfg.get('default_scope', 'mmseg'), 'SegTTAModel'))
    cfg.model = ConfigDict(cfg.get('tta_model') or default, module=cfg.model)


def use_tta(cfg: Config) -> None:
    """Tests with the config's test-time augmentation.

    Raises:
        OptionError: if the config has no ``tta_pipeline``.
    """
    if not cfg.get('tta_pipeline'):
        raise OptionError('--tta: the config has no tta_pipeline, which lists the augmented views (TestTimeAug)')
    set_pipeline(cfg, cfg.tta_pipeline)
    wrap_for_tta(cfg)


def write_scores(path: str | os.PathLike, cfg: Config, kind: str, scores: Mapping, **about: Any) -> None:
    """Writes scores as JSON: ``about``, the type of the data set, and the scores under the name ``kind``.

    The file appears whole or not at all. A value that is not a number (a class that never occurs) becomes ``null``.
    """
    _, dataset = next(iter_datasets(cfg.test_dataloader.dataset))
    record = {**about, 'dataset': type_name(dataset.get('type')), kind: scores}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    temporary.write_text(json.dumps(_plain(record), indent=2) + '\n')
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, 'tolist'):  # numbers and arrays of NumPy and PyTorch
        return _plain(value.tolist())
    return None if isinstance(value, float) and math.isnan(value) else value
