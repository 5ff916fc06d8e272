"""The three ways in which Table 7 of the paper scores a network: single scale, multi-scale, multi-scale + flip.

One network, one pass over the images: a data set gives each image in all the views that any protocol needs
(:func:`use_protocols`), each view goes through the network once, and each protocol merges its share of the predictions
as the host's test-time augmentation does (:class:`ProtocolTestLoop`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper
from mmengine.runner import TestLoop, autocast
from mmseg.evaluation import IoUMetric
from mmseg.registry import LOOPS, METRICS
from prettytable import PrettyTable

from ..config_tree import iter_datasets, set_pipeline, type_name, wrap_for_tta
from ..errors import OptionError

PAPER_SCALES = (0.75, 1.0, 1.25, 1.5)
TITLES = dict(single_scale='Single scale', multi_scale='Multi-scale', multi_scale_flip='Multi-scale + flip')
MEANS = ('mIoU', 'mAcc', 'aAcc')


# --- the views of an image -------------------------------------------------------------------------------------------


def _find(pipeline: Sequence[Mapping], *starts: str) -> int:
    """Return the place of the first transform whose name begins with one of ``starts``; the end if there is none."""
    return next((i for i, step in enumerate(pipeline) if type_name(step.get('type')).startswith(starts)), len(pipeline))


def _has_flip(view: Sequence[Mapping]) -> bool:
    return any(type_name(step.get('type')) == 'RandomFlip' and step.get('prob') for step in view)


def _with_flip(view: Sequence[Mapping]) -> list:
    """Add a horizontal flip to a view, ahead of the labels, which stay as they are."""
    place = _find(view, 'LoadAnnotations', 'Pack')
    unflipped = [step for step in view[:place] if type_name(step['type']) != 'RandomFlip']
    return [*unflipped, dict(type='RandomFlip', prob=1.0, direction='horizontal'), *view[place:]]


def _scaled(pipeline: Sequence[Mapping], scale: float) -> list:
    """Return a test pipeline at another scale: its Resize changed, or one added after the image is loaded."""
    view = copy.deepcopy(list(pipeline))
    resizes = [step for step in view if type_name(step['type']) == 'Resize']
    if not resizes:
        resizes = [dict(type='Resize', keep_ratio=True)]
        view.insert(_find(view, 'LoadImage') + 1, resizes[0])
    for resize in resizes:
        size, factor = resize.get('scale'), resize.get('scale_factor') or 1.0
        if size is not None:
            sides = (size, size) if isinstance(size, int) else size
            resize['scale'] = tuple(max(1, int(side * scale + 0.5)) for side in sides)
        else:
            pair = isinstance(factor, (tuple, list))
            resize['scale_factor'] = tuple(f * scale for f in factor) if pair else factor * scale
    return view


def _tta_views(pipeline: Sequence[Mapping]) -> list[list]:
    """Return the pipelines of the views that a ``tta_pipeline`` makes, each in full, in its order."""
    place = _find(pipeline, 'TestTimeAug')
    if place == len(pipeline):
        raise OptionError(
            '--protocols: tta_pipeline has no TestTimeAug; write it as MMSegmentation does, or remove '
            'it to have the scales of the paper'
        )
    groups = pipeline[place]['transforms']
    groups = groups if isinstance(groups[0], (list, tuple)) else [groups]
    return [[*pipeline[:place], *view, *pipeline[place + 1 :]] for view in product(*groups)]


def protocol_views(cfg: Config) -> tuple[list[list], dict[str, list[int]]]:
    """List the views that the three protocols need.

    The scales are those of the config's ``tta_pipeline``, else its ``img_ratios``, else the paper's (0.75, 1, 1.25,
    1.5), times the Resize of its test pipeline.

    Args:
        cfg: a config of MMSegmentation.

    Returns:
        The pipelines of the views, the test pipeline first, and for each protocol the indices of its views.

    Raises:
        OptionError: if ``tta_pipeline`` has no TestTimeAug, or every view flips.
    """
    single = list(next(iter_datasets(cfg.test_dataloader.dataset))[1]['pipeline'])
    if cfg.get('tta_pipeline'):
        views = _tta_views(cfg.tta_pipeline)
    else:
        views = [_scaled(single, scale) for scale in cfg.get('img_ratios') or PAPER_SCALES]
    plain = [view for view in views if not _has_flip(view)]
    if not plain:
        raise OptionError(
            '--protocols: every view flips, and two protocols need views that do not: take RandomFlip out of the test '
            'pipeline, or give tta_pipeline one with prob=0.0'
        )
    flipped = [view for view in views if _has_flip(view)] or [_with_flip(view) for view in plain]
    views = [single, *plain, *flipped]
    indices = list(range(len(views)))
    return views, dict(single_scale=[0], multi_scale=indices[1 : 1 + len(plain)], multi_scale_flip=indices[1:])


def use_protocols(cfg: Config) -> None:
    """Turn a config's test into the three protocols: pipeline, model wrapper, loop and metric.

    Args:
        cfg: a config of MMSegmentation; changed in place.

    Raises:
        OptionError: if the config is of another toolkit, has no IoUMetric, or its metric only formats results.
    """
    scope = cfg.get('default_scope', 'mmseg')
    if scope != 'mmseg':
        raise OptionError(f'--protocols scores segmentation (default_scope mmseg), got a config of {scope}')
    views, protocols = protocol_views(cfg)
    set_pipeline(cfg, [dict(type='TestTimeAug', transforms=[[dict(type='Compose', transforms=v) for v in views]])])
    wrap_for_tta(cfg)
    cfg.test_evaluator = _class_metric(cfg.test_evaluator)
    fp16 = (cfg.get('test_cfg') or {}).get('fp16', False)
    cfg.test_cfg = ConfigDict(type='ProtocolTestLoop', fp16=fp16, protocols=protocols)


def _class_metric(evaluator: Mapping | Sequence[Mapping]) -> ConfigDict:
    metrics = [evaluator] if isinstance(evaluator, Mapping) else list(evaluator)
    names = [type_name(metric.get('type')) for metric in metrics]
    chosen = metrics[names.index('IoUMetric')] if 'IoUMetric' in names else None
    if chosen is None or chosen.get('format_only'):
        raise OptionError(
            f'--protocols needs test_evaluator = dict(type="IoUMetric") on labeled images, without format_only, got '
            f'{", ".join(names)}'
        )
    kept = {key: chosen[key] for key in ('ignore_index', 'collect_device', 'output_dir') if key in chosen}
    return ConfigDict(kept, type='ClassIoUMetric')


# --- metric and loop -------------------------------------------------------------------------------------------------


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """IoUMetric that returns the IoU of each class as well, in per cent and not rounded.

    A class that occurs neither in the labels nor in the predictions has no IoU (NaN) and is in no mean.
    """

    def compute_metrics(self, results: list) -> dict[str, Any]:
        """Return ``mIoU``, ``mAcc``, ``aAcc``, and ``IoU`` by class, from the areas of all images.

        Args:
            results: for each image its areas of intersection, union, prediction and label, each (C,).
        """
        intersect, union, _, label = (torch.stack(areas).double().sum(0) for areas in zip(*results, strict=True))
        iou, accuracy = 100 * intersect / union, 100 * intersect / label
        return dict(
            mIoU=iou.nanmean().item(),
            mAcc=accuracy.nanmean().item(),
            aAcc=(100 * intersect.sum() / label.sum()).item(),
            IoU=dict(zip(self.dataset_meta['classes'], iou.tolist(), strict=True)),
        )


def _same_view(a: Mapping, b: Mapping) -> bool:
    """Whether two views show the network the same: equal images, neither flipped nor padded differently."""

    def placements(view: Mapping) -> list:
        infos = [sample.metainfo for sample in view['data_samples']]
        keys = ('img_padding_size', 'padding_size', 'ori_shape')
        return [(bool(info.get('flip')), *map(info.get, keys)) for info in infos]

    same_images = all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs'], strict=True))
    return same_images and placements(a) == placements(b)


@LOOPS.register_module()
class ProtocolTestLoop(TestLoop):
    """Test loop that scores several protocols in one pass.

    Hooks see the predictions of the first protocol.

    Args:
        runner: the runner; its model is wrapped for test-time augmentation (SegTTAModel).
        dataloader: gives each image in all views, as mmcv's TestTimeAug does.
        evaluator: config of the metric, of which each protocol gets its own. An ``output_dir`` for label images gets a
            folder for each protocol.
        fp16: test under autocast.
        protocols: from name to the indices of its views.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        evaluator: dict,
        fp16: bool = False,
        *,
        protocols: Mapping[str, Sequence[int]],
    ) -> None:
        super().__init__(runner, dataloader, [], fp16)
        self.protocols = {name: list(views) for name, views in protocols.items()}
        self.evaluators = {}
        for name in self.protocols:
            metric = copy.deepcopy(evaluator)
            if metric.get('output_dir'):
                metric['output_dir'] = f'{metric["output_dir"]}/{name}'
            self.evaluators[name] = runner.build_evaluator(metric)
            self.evaluators[name].dataset_meta = self.dataloader.dataset.metainfo

    def run(self) -> dict[str, dict[str, Any]]:
        """Test, and return for each protocol what ClassIoUMetric computes."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        for index, data_batch in enumerate(self.dataloader):
            self.run_iter(index, data_batch)
        size = len(self.dataloader.dataset)
        scores = {name: evaluator.evaluate(size) for name, evaluator in self.evaluators.items()}
        flat = {f'{name}/{key}': score[key] for name, score in scores.items() for key in MEANS}
        self.runner.call_hook('after_test_epoch', metrics=flat)
        self.runner.call_hook('after_test')
        return scores

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Mapping) -> None:
        """Predict every view of a batch once and hand each protocol its share."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        model = self.runner.model.module if is_model_wrapper(self.runner.model) else self.runner.model
        with autocast(enabled=self.fp16):
            predictions = self._predict_views(model.module, data_batch)
        for name, views in self.protocols.items():
            outputs = predictions[views[0]]
            if len(views) > 1:
                # The wrapper writes the merged prediction into a sample that it was given: give it its own.
                shares = ([copy.copy(sample) for sample in predictions[view]] for view in views)
                outputs = model.merge_preds(list(zip(*shares, strict=True)))
            self.evaluators[name].process(data_samples=outputs, data_batch=data_batch)
        outputs = next(iter(predictions.values()))
        self.runner.call_hook('after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def _predict_views(self, model: torch.nn.Module, data_batch: Mapping) -> dict[int, list]:
        first, *others = sorted({view for views in self.protocols.values() for view in views})
        batches = {view: {key: values[view] for key, values in data_batch.items()} for view in (first, *others)}
        # The scale 1 of the augmentation is, as a rule, the test pipeline itself: no need to predict it twice.
        twins = {view for view in others if _same_view(batches[first], batches[view])}
        predictions = {view: model.test_step(batches[view]) for view in batches if view not in twins}
        return {view: predictions[first if view in twins else view] for view in batches}


# --- the result ------------------------------------------------------------------------------------------------------


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write scores as the columns of Table 7, in per cent: mIoU, mAcc, aAcc, then the IoU of each class."""
    table = PrettyTable(['%', *(TITLES.get(name, name) for name in scores)], align='r')
    table.align['%'] = 'l'
    columns = [{**{key: score[key] for key in MEANS}, **score['IoU']} for score in scores.values()]
    for name in columns[0]:
        cells = ['-' if math.isnan(column[name]) else f'{column[name]:.2f}' for column in columns]
        table.add_row([name, *cells], divider=name == MEANS[-1])
    return table.get_string()
