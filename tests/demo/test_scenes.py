"""Drawn scenes: every class occurs, a seed is a scene, and the truth is that of the picture."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from demo.scenes import CLASSES, IGNORED, THINGS, make_scenes, render_scene
from demo.scenes.canvas import Camera, Canvas, Frame, cells
from demo.scenes.dataset import annotate, cut_out, run_lengths
from demo.scenes.light import draw_light
from mmseg_isda.errors import ExistingPathError, OptionError

SIZE = (64, 128)


@pytest.fixture(scope='module')
def scenes():
    return [render_scene(seed, *SIZE) for seed in range(24)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('made') / 'scenes'
    make_scenes(root, train=3, val=2, height=SIZE[0], width=SIZE[1], jobs=1)
    return root


# --- one scene -------------------------------------------------------------------------------------------------------


def test_every_class_occurs(scenes):
    """A demo of few images must have every class in several of them, or its IoU is an accident."""
    images = np.array([np.bincount(scene.labels.ravel(), minlength=256) > 0 for scene in scenes]).sum(0)
    assert {name: n for name, n in zip(CLASSES, images, strict=False) if n < 3} == {}
    assert not images[len(CLASSES) : IGNORED].any()


def test_a_seed_is_a_scene(scenes):
    """Pairs of runs need the same images; a random number drawn outside the seed's generator would part them."""
    again = render_scene(5, *SIZE)
    assert np.array_equal(again.image, scenes[5].image) and np.array_equal(again.labels, scenes[5].labels)
    assert not np.array_equal(again.image, scenes[6].image)


def test_scenes_vary_in_light_and_place(scenes):
    """One street under one light would be learned by heart."""
    brightness = [scene.image.mean() for scene in scenes]
    assert np.std(brightness) > 15
    cars = [np.argwhere(scene.labels == CLASSES.index('car')).mean(0) for scene in scenes if 13 in scene.labels]
    assert np.std(cars, axis=0).min() > 2


def test_labels_can_be_learned_from_the_pixels(scenes):
    """Labels that are shifted, mirrored or of another scene cannot be told from color and place."""
    trees = pytest.importorskip('sklearn.tree')

    def pixels(some):
        rows, columns = np.mgrid[0 : SIZE[0] : 4, 0 : SIZE[1] : 4] / SIZE[1]
        parts = [np.dstack([scene.image[::4, ::4] / 255, rows, rows**2, abs(columns - 0.5)]) for scene in some]
        labels = np.concatenate([scene.labels[::4, ::4].ravel() for scene in some])
        features = np.concatenate([part.reshape(-1, 6) for part in parts])
        return features[labels != IGNORED], labels[labels != IGNORED]

    model = trees.DecisionTreeClassifier(max_depth=8, random_state=0).fit(*pixels(scenes[:16]))
    features, labels = pixels(scenes[16:])
    assert model.score(features, labels) > 0.55
    assert model.score(features, np.roll(labels, len(labels) // 3)) < 0.4


def test_objects_have_the_class_of_their_pixels(scenes):
    """An object whose mask holds pixels of another class."""
    for scene in scenes:
        for number, name in scene.things.items():
            assert (scene.labels[scene.objects == number] == CLASSES.index(name)).all()
        numbered = np.isin(scene.objects, list(scene.things))
        things = (scene.labels >= CLASSES.index(THINGS[0])) & (scene.labels != IGNORED)
        assert np.array_equal(numbered, things)


def test_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match='at least 32 and 64, got 16 and 64'):
        render_scene(0, 16, 64)


# --- the canvas ------------------------------------------------------------------------------------------------------


@pytest.fixture
def canvas():
    return Canvas(Camera(200, 400, focal=200.0, cx=200.0, horizon=100.0, eye=1.5), draw_light(np.random.default_rng(0)))


def test_a_point_is_projected_by_the_pinhole(canvas):
    """2 m to the right, 10 m ahead, on the ground: 200 * 2 / 10 pixels beside and 200 * 1.5 / 10 below the center."""
    assert canvas.camera.project(np.array([2.0, 0.0, 10.0])) == pytest.approx([240, 130])


@pytest.mark.parametrize(('heading', 'expected'), [(0.0, (1, 0, 12)), (np.pi / 2, (2, 0, 9)), (np.pi, (-1, 0, 8))])
def test_a_frame_turns_its_object_clockwise(heading, expected):
    """Ahead is away from the camera, then to the right, then toward it; what is right of the object turns along."""
    assert Frame(0.0, 10.0, heading).world((2.0, 1.0, 0.0)) == pytest.approx(expected)


def test_only_faces_that_are_seen_are_painted(canvas):
    """A box straight ahead shows its back; one to the left shows its right side too, and never its left."""
    number = canvas.new('car')
    ahead = canvas.solid(Frame(0, 10), (0, 4), (-1, 1), (0, 1), (200, 0, 0), number)
    left = canvas.solid(Frame(-6, 10), (0, 4), (-1, 1), (0, 1), (200, 0, 0), number)
    high = canvas.solid(Frame(-6, 10), (0, 4), (-1, 1), (0, 3), (200, 0, 0), number)
    assert (set(ahead), set(left), set(high)) == ({'back', 'top'}, {'back', 'right', 'top'}, {'back', 'right'})


def test_a_face_fills_the_pixels_between_its_corners(canvas):
    """Color and object must be written by one call, at the place that the camera says."""
    canvas.solid(Frame(0, 10), (0, 4), (-1, 1), (0, 2), (200, 0, 0), canvas.new('bus'))
    painted = np.argwhere(canvas.pixels[..., 3] == 1)
    assert painted.min(0) == pytest.approx([90, 180], abs=1) and painted.max(0) == pytest.approx([130, 220], abs=1)


def test_cells_are_equal_and_centered():
    assert cells(2, 0.5) == pytest.approx(np.array([[0.125, 0.375], [0.625, 0.875]]))


# --- the folder ------------------------------------------------------------------------------------------------------


def test_folder_has_the_layout_of_cityscapes(folder):
    """Both suffixes are what CityscapesDataset looks for; the image and its label are of one scene."""
    for split, number in (('train', 3), ('val', 2)):
        images = sorted((folder / 'leftImg8bit' / split).glob('*/*_leftImg8bit.png'))
        labels = sorted((folder / 'gtFine' / split).glob('*/*_gtFine_labelTrainIds.png'))
        assert len(images) == len(labels) == number
        for path in labels:
            label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert label.shape == SIZE and label.dtype == np.uint8
            assert set(np.unique(label)) <= {*range(len(CLASSES)), IGNORED}
    names = [path.read_bytes() for path in folder.glob('leftImg8bit/*/*/*')]
    assert len(set(names)) == 5, 'no image twice, above all none in both splits'


def test_annotations_are_those_of_the_labels(folder):
    """COCO's own reader decodes the masks; together they are the pixels of the classes with instances."""
    coco_api = pytest.importorskip('pycocotools.coco')
    coco = coco_api.COCO(str(folder / 'annotations' / 'instances_val.json'))
    assert [entry['name'] for entry in coco.loadCats(coco.getCatIds())] == list(THINGS)
    assert coco.getImgIds() == [1, 2] and len(coco.getAnnIds()) == len(set(coco.getAnnIds())) > 0
    for image in coco.loadImgs(coco.getImgIds()):
        path = folder / 'gtFine' / 'val' / image['file_name'].replace('_leftImg8bit', '_gtFine_labelTrainIds')
        assert (folder / 'leftImg8bit' / 'val' / image['file_name']).is_file()
        label, drawn = cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.full(SIZE, IGNORED, np.uint8)
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=image['id'])):
            mask = coco.annToMask(entry).astype(bool)
            assert entry['area'] == mask.sum() and entry['bbox'] == list(cv2.boundingRect(mask.astype(np.uint8)))
            drawn[mask] = CLASSES.index(THINGS[entry['category_id'] - 1])
        is_thing = (label >= CLASSES.index(THINGS[0])) & (label != IGNORED)
        assert np.array_equal(np.where(is_thing, label, IGNORED), drawn)


@pytest.mark.parametrize('mask', [[[0, 1], [1, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
def test_run_lengths(mask):
    """Written out: down the columns, zeros first."""
    flat, expected, value = np.array(mask).T.ravel(), [], 0
    while len(flat):
        run = next((i for i, pixel in enumerate(flat) if pixel != value), len(flat))
        expected, flat, value = [*expected, run], flat[run:], 1 - value
    assert run_lengths(np.array(mask, bool))['counts'] == expected


def test_tiny_objects_are_crowds(scenes):
    """Five pixels of a car behind a tree are neither trained on nor counted as missed."""
    found = [entry for scene in scenes for entry in annotate(scene)]
    assert {entry['iscrowd'] for entry in found if entry['area'] < 24} == {1}
    assert {entry['iscrowd'] for entry in found if entry['area'] >= 24} == {0}


def test_crops_show_one_object_each(folder):
    """MMPretrain takes the folders in the order of their names: both splits need all of them, empty or not."""
    for split in ('train', 'val'):
        assert sorted(path.name for path in (folder / 'crops' / split).iterdir()) == sorted(THINGS)
    crops = list(folder.glob('crops/train/*/*.png'))
    annotations = json.loads((folder / 'annotations' / 'instances_train.json').read_text())['annotations']
    assert len(crops) == sum(max(a['bbox'][2:]) >= 14 and not a['iscrowd'] for a in annotations) > 0
    assert all(cv2.imread(str(path)).shape == (64, 64, 3) for path in crops)


def test_a_crop_is_the_square_around_its_box():
    """A box at the border is completed by what stands there, and its object stays in the middle."""
    image = np.zeros((80, 160, 3), np.uint8)
    image[60:80, 0:20] = 255
    crop = cut_out(image, [0, 30, 10, 10])  # of the image, half as large
    assert crop.shape == (64, 64, 3)
    assert crop[32, 32].min() == 255 and crop[1, 62].max() == 0 and crop[62, 1].min() == 255


def test_called_again_nothing_is_made(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    record = make_scenes(folder, train=3, val=2, height=SIZE[0], width=SIZE[1])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert record == json.loads((folder / 'scenes.json').read_text())


def test_other_settings_and_other_files_are_refused(folder, tmp_path):
    """A set of another size taken for this one, or a folder of the user's filled with pictures."""
    with pytest.raises(ExistingPathError, match=r'holds other scenes \(train 3, not 4\)'):
        make_scenes(folder, train=4, val=2, height=SIZE[0], width=SIZE[1])
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(ExistingPathError, match='no set of drawn scenes'):
        make_scenes(tmp_path, train=1, val=1)
    with pytest.raises(OptionError, match='train must be at least 1, got 0'):
        make_scenes(tmp_path / 'new', train=0)


def test_a_killed_run_leaves_no_set_and_can_be_repeated(folder, tmp_path, monkeypatch):
    """Half a set that is taken for a whole one; files of a killed run between those of the next."""
    from demo.scenes import dataset

    def fail(*_):
        raise KeyboardInterrupt

    settings = dict(train=3, val=2, height=SIZE[0], width=SIZE[1], jobs=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, '_coco', fail)
        make_scenes(tmp_path / 'scenes', **settings)
    assert not (tmp_path / 'scenes').exists()
    (tmp_path / '.scenes.partial' / 'leftImg8bit' / 'train' / 'drawn' / 'left.png').touch()
    make_scenes(tmp_path / 'scenes', **settings)
    made = {path.relative_to(tmp_path / 'scenes'): path.read_bytes() for path in tmp_path.glob('scenes/**/*.*')}
    assert made == {path.relative_to(folder): path.read_bytes() for path in folder.glob('**/*.*')}, 'one job or two'


def test_scenes_do_not_depend_on_the_process():
    """The order of a set of names, which is another one in each process, once decided what was drawn first."""
    code = 'from demo.scenes import render_scene; print(sum(render_scene(s, 64, 128).image.sum() for s in range(3)))'
    printed = {
        subprocess.run(
            [sys.executable, '-c', code], env={**os.environ, 'PYTHONHASHSEED': seed}, capture_output=True, check=True
        ).stdout
        for seed in ('1', '2')
    }
    assert len(printed) == 1
