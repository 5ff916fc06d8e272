"""Networks, data and samples as the analyses get them, for both kinds of configs."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch

from mmseg_isda.analysis.collect import Sample, collect, keep_evenly, passes_of
from mmseg_isda.analysis.trained import as_picture, build_dataset, class_names, open_trained, patch_of
from mmseg_isda.errors import CheckpointError, OptionError
from tests.analysis import tiny
from tests.tiny import COLOURS


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp('digits')
    config = tiny.digits_config(root / 'digits.py')
    return open_trained(config, tiny.write_checkpoint(config, root / 'epoch_12.pth', epoch=12, iter=36))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    config = tiny.scenes_config(tmp_path_factory.mktemp('scenes'))
    return open_trained(config, tiny.write_checkpoint(config, config.with_name('iter_10.pth'), epoch=0, iter=10))


@pytest.fixture(params=['digits', 'scenes'])
def trained(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def test_features_give_their_logits(trained) -> None:
    """Rows of one tensor must not be paired with those of another."""
    sample = collect(trained, build_dataset(trained.cfg, 'train'), per_class=7)
    assert torch.allclose(sample.features @ trained.weight.T + trained.bias, sample.logits, atol=1e-4)


def test_features_are_those_of_their_image_and_position(trained) -> None:
    """Where the pictures of ``directions`` come from."""
    dataset = build_dataset(trained.cfg, 'train')
    sample = collect(trained, dataset, per_class=3)
    for index in range(len(sample)):
        data = dataset[int(sample.image[index])]
        inputs = trained.model.data_preprocessor(
            dict(inputs=[data['inputs']], data_samples=[data['data_samples']]), False
        )['inputs']
        with torch.no_grad(), passes_of(trained.classifier) as passed:
            trained.model(inputs, mode='tensor')
            features = passed.pop()[0][0]
        if features.dim() == 3:
            row, column = (int(at * size) for at, size in zip(sample.position[index], features.shape[1:], strict=True))
            features = features[:, row, column]
        assert torch.allclose(features, sample.features[index], atol=1e-4)


def test_labels_are_those_at_the_position(scenes) -> None:
    dataset = build_dataset(scenes.cfg, 'train')
    sample = collect(scenes, dataset, per_class=50)
    assert sample.classes == [0, 1, 2]
    for image, position, label in zip(sample.image, sample.position, sample.labels, strict=True):
        truth = dataset[int(image)]['data_samples'].gt_sem_seg.data[0]
        # Nearest neighbor takes the upper left of the pixels that a feature covers.
        size = scenes_size(sample)
        row, column = (int(int(at * n) * full / n) for at, n, full in zip(position, size, truth.shape, strict=True))
        assert truth[row, column] == label


def scenes_size(sample: Sample) -> tuple[int, int]:
    """Size of the map of features, from the distance of the positions."""
    margin = torch.minimum(sample.position.amin(0), 1 - sample.position.amax(0))  # half a pixel, at one end at least
    return tuple(round(0.5 / float(side)) for side in margin)


def test_sampling_is_even_and_fair() -> None:
    """Each of a class is kept with equal chance, whether it came early or late."""
    kept = torch.zeros(40)
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        sample = None
        for start in range(0, 40, 8):
            rows = torch.arange(start, start + 8)
            part = Sample(
                features=rows.float()[:, None],
                logits=rows.float()[:, None],
                labels=rows % 2,
                image=rows,
                position=torch.zeros(8, 2),
                priority=torch.rand(8, generator=generator),
                population=torch.tensor([4, 4]),
            )
            sample = keep_evenly(part if sample is None else sample + part, 5)
        assert torch.bincount(sample.labels).tolist() == [5, 5] and sample.population.tolist() == [20, 20]
        assert torch.equal(sample.image.float(), sample.features[:, 0])
        kept[sample.image] += 1
    assert (kept / 300 - 0.25).abs().max() < 0.1


def test_importance_gives_the_mean_over_all_pixels(scenes) -> None:
    """A rare class must not count as much as a common one in a loss."""
    sample = collect(scenes, build_dataset(scenes.cfg, 'train'), per_class=4)
    share = torch.stack([sample.importance[sample.labels == label].sum() for label in range(3)])
    assert torch.allclose(share, sample.population[:3].double() / sample.population.sum())
    assert not torch.allclose(share, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.05)


def test_seed_and_images_decide_what_is_seen(digits) -> None:
    dataset = build_dataset(digits.cfg, 'train')
    first, same, other = (collect(digits, dataset, images=30, seed=seed) for seed in (0, 0, 1))
    assert len(first) == 30 and torch.equal(first.image, same.image)
    assert not torch.equal(first.image.sort()[0], other.image.sort()[0])


def test_lambda_is_that_of_the_checkpoint(digits, scenes) -> None:
    """Fig. 9 is about the loss of that moment, not about the final one."""
    assert digits.unit == 'epoch' and digits.step == 12 and digits.strength == pytest.approx(0.5 * 12 / 30)
    assert scenes.unit == 'iteration' and scenes.step == 10 and scenes.strength == pytest.approx(2.0 * 10 / 40)
    assert scenes.statistics.covariance.shape == scenes.weight.shape


def test_a_checkpoint_without_statistics_says_so(tmp_path) -> None:
    config = tiny.digits_config(tmp_path / 'digits.py')
    path = tiny.write_checkpoint(config, tmp_path / 'plain.pth', statistics=False)
    with pytest.warns(UserWarning, match='no ISDA statistics'):
        plain = open_trained(config, path)
    with pytest.raises(CheckpointError, match='plain.pth holds no ISDA statistics.*--estimate'):
        plain.needs_statistics()


def test_another_layer_can_be_named(scenes) -> None:
    config, path = scenes.cfg.filename, scenes.path
    other = open_trained(config, path, classifier='auxiliary_head.conv_seg')
    assert other.classifier is other.model.auxiliary_head.conv_seg and other.statistics is None
    with pytest.raises(OptionError, match="no layer 'head.fc' in the network"):
        open_trained(config, path, classifier='head.fc')


def test_images_are_not_augmented_and_red_comes_first(scenes) -> None:
    """Random crops would show another part than the network saw; OpenCV reads blue first."""
    dataset = build_dataset(scenes.cfg, 'train')
    image = as_picture(dataset[0]['inputs'], scenes.cfg)
    assert image.shape == (48, 64, 3)
    blue_first = cv2.imread(dataset[0]['data_samples'].img_path)
    assert np.array_equal(image[..., ::-1], blue_first)
    assert abs(image[10, 40] - COLOURS[1][::-1]).max() <= 30
    assert class_names(dataset, 4) == ['left', 'right', 'ground', 'never'] and class_names(dataset, 2) == ['0', '1']


def test_wrappers_lose_their_random_steps(digits) -> None:
    """A wrapper with a pipeline of its own, such as SubsetDataset, would crop what the network is to see whole."""
    cfg = copy.deepcopy(digits.cfg)
    crop = [dict(type='RandomCrop', crop_size=4), dict(type='PackInputs')]
    inner = dict(cfg.train_dataloader.dataset, pipeline=[])
    cfg.train_dataloader.dataset = dict(type='SubsetDataset', num_images=30, seed=0, dataset=inner, pipeline=crop)
    assert build_dataset(cfg, 'train')[0]['inputs'].shape == (1, 8, 8)
    cfg.train_dataloader.dataset.pop('seed')
    cfg.randomness = dict(seed=1)
    with pytest.raises(OptionError, match='by seed 1, but the checkpoint was trained with 0'):
        build_dataset(cfg, 'train', seed=0)
    with pytest.raises(OptionError, match='the config has no test_dataloader: name another split by --split'):
        build_dataset(cfg, 'test')


def test_patches_lie_around_their_pixel_and_inside_the_image() -> None:
    image = np.arange(40 * 60).reshape(40, 60, 1)
    assert patch_of(image, (0.5, 0.5))[5, 5, 0] == image[20, 30, 0]
    assert np.array_equal(patch_of(image, (0.99, 0.01)), image[30:, :10])
    assert patch_of(image[:, :4], (0.5, 0.5)).shape == (4, 4, 1)
