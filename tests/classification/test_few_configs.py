"""Few-label configs: which images are learned and tested, and by which loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

pytest.importorskip('sklearn')

FEW = Path(__file__).parents[2] / 'configs' / 'digits' / 'few'


def _datasets(labels: int, seed: int, parts=('train', 'test')):
    cfg = Config.fromfile(FEW / f'resnet8_{labels}-labels.py')
    init_default_scope(cfg.default_scope)
    torch.manual_seed(seed)  # as the runner does before it builds them
    return [DATASETS.build(cfg[name].dataset) for name in [f'{part}_dataloader' for part in parts]]


def _images(dataset) -> list[bytes]:
    return [dataset.get_data_info(index)['img'].tobytes() for index in range(len(dataset))]


@pytest.mark.parametrize('labels', [10, 20, 50])
def test_each_class_has_its_labels_and_no_image_is_learned_and_tested(labels):
    train, test = _datasets(labels, seed=3)
    assert np.bincount(train.get_gt_labels()).tolist() == [labels] * 10
    assert len(train) + len(test) == 899
    assert not set(_images(train)) & set(_images(test))


def test_seeds_differ_and_none_sees_the_images_that_settings_were_chosen_on():
    tasks = pytest.importorskip('benchmarks.few_tasks').tasks
    (first, _), (second, _) = (_datasets(10, seed) for seed in (0, 1))
    assert set(_images(first)) != set(_images(second))
    inputs, _ = tasks(Path(), Path())['digits'].half('choose')
    pixels = np.round((inputs.squeeze(1).numpy() * 6.0 + 4.9) * (255 / 16)).astype(np.uint8)
    chosen_on = {image.tobytes() for image in pixels}
    assert not chosen_on & {image for dataset in _datasets(10, seed=0) for image in _images(dataset)}
    (validated,) = _datasets(10, 0, parts=['val'])
    assert chosen_on == set(_images(validated))


@pytest.mark.parametrize('labels', [10, 20, 50])
def test_a_twin_differs_from_its_baseline_in_the_loss_only(labels):
    twin, base = (Config.fromfile(FEW / f'resnet8_{isda}{labels}-labels.py').to_dict() for isda in ('isda_', ''))
    new, old = (cfg['model']['head'].pop('loss') for cfg in (twin, base))
    assert new.pop('type') == 'ISDALoss' and new.pop('covariance') == 'full' and new.pop('lambda_0') > 0
    assert old.pop('type') == 'CrossEntropyLoss' and new == old
    assert twin == base
