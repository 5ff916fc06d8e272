"""The synthetic street scenes: the same everywhere, readable as Cityscapes, varied enough to learn from."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.datasets import CityscapesDataset

from demo.street_scenes import CLASSES, class_frequencies, make_dataset, render_scene
from demo.street_scenes.labels import RAW_IDS, TRAIN_ID_OF_RAW
from demo.street_scenes.scene import render_raw

RARE = ('wall', 'fence', 'terrain', 'rider', 'truck', 'bus', 'train', 'motorcycle')
SMALL = {'train': 3, 'val': 2, 'height': 32, 'width': 64}
TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_street_scenes.py'


@pytest.fixture(scope='module')
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render_scene(seed) for seed in range(40)]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def test_scene_has_the_promised_form():
    image, labels = render_scene(3, 48, 112)
    assert image.shape == (48, 112, 3) and image.dtype == np.uint8
    assert labels.shape == (48, 112) and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(19), 255}


def test_one_seed_gives_one_scene_and_another_seed_another():
    """Guards against hidden global state: numpy's global generator is moved in between."""
    first = render_scene(7)
    np.random.seed(1)
    again, other = render_scene(7), render_scene(8)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[1], other[1])


def test_threads_of_opencv_do_not_change_a_scene():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = render_scene(11)
        cv2.setNumThreads(4)
        four = render_scene(11)
    finally:
        cv2.setNumThreads(before)
    assert all(np.array_equal(a, b) for a, b in zip(one, four, strict=True))


def test_every_scene_has_road_sky_and_building(scenes):
    for index in (CLASSES.index(name) for name in ('road', 'sky', 'building')):
        assert min((labels == index).sum() for _, labels in scenes) > 200


def test_rare_classes_are_frequent_and_large_enough_to_learn(scenes):
    """Guards against a class that is always hidden, or so far away that it is a speck."""
    counts = np.array([np.bincount(labels.ravel(), minlength=256)[:19] for _, labels in scenes])
    assert (counts.sum(0) > 0).all()
    large = {name: float((counts[:, CLASSES.index(name)] >= 60).mean()) for name in RARE}
    assert min(large.values()) >= 0.25, large
    assert (counts.sum(0) / counts.sum()).min() > 0.003


def test_each_class_varies_between_scenes_and_within_them(scenes):
    """ISDA estimates a covariance for each class: none may be of one flat colour."""
    for index, name in enumerate(CLASSES):
        pixels = [image[labels == index].astype(float) for image, labels in scenes if (labels == index).sum() >= 12]
        means, spreads = np.array([p.mean(0) for p in pixels]), np.array([p.std(0) for p in pixels])
        assert means.std(0).min() > 4, name
        assert np.median(spreads, 0).min() > 2, name


def test_labels_lie_on_what_is_painted(scenes):
    """Guards against a shift between image and labels: label borders must coincide with edges of the image."""
    aligned, shifted = [], []
    for image, labels in scenes[:12]:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
        edges = np.abs(np.diff(grey, axis=1))
        borders = np.diff(labels.astype(int), axis=1) != 0
        aligned.append(edges[borders].mean())
        shifted.append(edges[np.roll(borders, 5, axis=1)].mean())
    assert np.mean(aligned) > 1.5 * np.mean(shifted)


def test_sky_is_above_the_road_and_brighter(scenes):
    sky, road = CLASSES.index('sky'), CLASSES.index('road')
    brighter = 0
    for image, labels in scenes:
        rows = np.arange(labels.shape[0])[:, None] + np.zeros_like(labels, float)
        assert rows[labels == sky].mean() < rows[labels == road].mean() - 20
        brighter += image[labels == sky].mean() > image[labels == road].mean()
    assert brighter >= 0.8 * len(scenes)


def test_image_size_changes_detail_but_not_the_scene():
    """Guards against lengths in pixels that should be lengths in metres."""
    small, large = render_scene(5, 64, 128)[1], render_scene(5, 128, 256)[1]
    assert (small == large[::2, ::2]).mean() > 0.85


def test_raw_ids_and_train_ids_agree():
    from_names = {label: index for index, label in enumerate(RAW_IDS)}
    _, raw = render_raw(2, 64, 128)
    assert np.array_equal(TRAIN_ID_OF_RAW[raw], np.vectorize(lambda label: from_names.get(label, 255))(raw))
    assert np.array_equal(render_scene(2, 64, 128)[1], TRAIN_ID_OF_RAW[raw])


def test_cityscapes_dataset_of_mmseg_reads_the_folder(tmp_path):
    make_dataset(tmp_path, **SMALL, jobs=1)
    assert CityscapesDataset.METAINFO['classes'] == CLASSES
    for split, count in (('train', 3), ('val', 2)):
        prefix = {'img_path': f'leftImg8bit/{split}', 'seg_map_path': f'gtFine/{split}'}
        steps = [{'type': 'LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}]
        data = CityscapesDataset(data_root=str(tmp_path), data_prefix=prefix, pipeline=steps)
        assert len(data) == count
        for sample in data:
            assert sample['img'].shape == (32, 64, 3) and sample['gt_seg_map'].shape == (32, 64)
            assert set(np.unique(sample['gt_seg_map'])) <= {*range(19), 255}


def test_folder_does_not_depend_on_the_number_of_processes(tmp_path):
    make_dataset(tmp_path / 'one', **SMALL, jobs=1)
    make_dataset(tmp_path / 'two', **SMALL, jobs=2)
    one = contents(tmp_path / 'one')
    assert one == contents(tmp_path / 'two')
    assert len(one) == 1 + 3 * 5


def test_splits_and_seeds_share_no_scene(tmp_path):
    first = contents(make_dataset(tmp_path / 'a', **SMALL))
    second = contents(make_dataset(tmp_path / 'b', **SMALL, seed=1))
    images = [data for kept in (first, second) for name, data in kept.items() if name.startswith('leftImg8bit')]
    assert len(set(images)) == 10


def test_second_call_touches_nothing_and_an_interrupted_one_is_completed(tmp_path):
    make_dataset(tmp_path, **SMALL)
    before = contents(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    make_dataset(tmp_path, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == stamps
    lost = next(tmp_path.glob('gtFine/val/*/*labelIds.png'))
    lost.unlink()
    make_dataset(tmp_path, **SMALL)
    assert contents(tmp_path) == before


def test_other_settings_are_refused_until_overwrite(tmp_path):
    make_dataset(tmp_path, **SMALL)
    with pytest.raises(ValueError, match=r'seed=0 \(asked for 4\).*overwrite=True'):
        make_dataset(tmp_path, **SMALL, seed=4)
    fewer = {**SMALL, 'train': 1}
    make_dataset(tmp_path, **fewer, seed=4, overwrite=True)
    assert len(list(tmp_path.glob('leftImg8bit/train/*/*.png'))) == 1
    assert json.loads((tmp_path / 'dataset.json').read_text())['seed'] == 4


@pytest.mark.parametrize('overwrite', [False, True])
def test_data_of_others_is_never_touched(tmp_path, overwrite):
    """Guards a real Cityscapes folder, even with overwrite=True."""
    other = tmp_path / 'gtFine' / 'train' / 'aachen' / 'aachen_000000_000019_gtFine_labelIds.png'
    other.parent.mkdir(parents=True)
    other.write_bytes(b'real')
    with pytest.raises(ValueError, match=r'did not make.*choose another root'):
        make_dataset(tmp_path, **SMALL, overwrite=overwrite)
    assert contents(tmp_path) == {str(other.relative_to(tmp_path)): b'real'}


@pytest.mark.parametrize(
    ('options', 'error', 'match'),
    [
        ({'train': 0}, ValueError, 'train must be at least 1, got 0'),
        ({'height': 16}, ValueError, 'height must be at least 32'),
        ({'seed': -1}, ValueError, 'seed must be at least 0'),
        ({'val': 2.5}, TypeError, 'val must be an integer, got 2.5'),
        ({'jobs': 0}, ValueError, 'jobs must be at least 1'),
    ],
)
def test_wrong_settings_are_named(tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        make_dataset(tmp_path / 'new', **{**SMALL, **options})
    assert not (tmp_path / 'new').exists()


def test_wrong_arguments_of_a_scene_are_named():
    with pytest.raises(TypeError, match='seed must be an integer'):
        render_scene('3')
    with pytest.raises(ValueError, match='width must be at least 64, got 8'):
        render_scene(3, 128, 8)


def test_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(ValueError, match='root must be a folder'):
        make_dataset(tmp_path / 'file', **SMALL)


def test_class_frequencies_count_pixels_and_images(tmp_path):
    folder = tmp_path / 'gtFine' / 'val' / 'town'
    folder.mkdir(parents=True)
    for i, labels in enumerate(([[0, 0, 0, 2]], [[2, 255, 255, 255]])):
        cv2.imwrite(str(folder / f'{i}_gtFine_labelTrainIds.png'), np.array(labels, np.uint8))
    found = class_frequencies(tmp_path)
    assert found['road'] == pytest.approx((0.6, 0.5)) and found['building'] == pytest.approx((0.4, 1.0))
    with pytest.raises(FileNotFoundError, match='make_dataset'):
        class_frequencies(tmp_path / 'nowhere')


def test_command_makes_the_set_and_says_how_to_mend_a_mistake(tmp_path):
    command = [
        sys.executable,
        str(TOOL),
        str(tmp_path / 'set'),
        '--train',
        '2',
        '--val',
        '1',
        '--height',
        '32',
        '--width',
        '64',
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '3/3 made' in made.stdout and 'bicycle' in made.stdout
    refused = subprocess.run([*command, '--seed', '9'], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and '--overwrite' in refused.stderr and 'Traceback' not in refused.stderr
