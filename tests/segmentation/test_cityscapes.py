"""Preparing Cityscapes: counts, restarts, what is said of a bad download, and the drawn labels themselves."""

import json
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_isda.segmentation import cityscapes
from mmseg_isda.segmentation.cityscapes import check_download, prepare_cityscapes

COUNTS = {'train': 2, 'val': 1, 'test': 1}
TOOL = Path(__file__).parents[2] / 'tools' / 'prepare_cityscapes.py'
POLYGONS = dict(
    imgHeight=16,
    imgWidth=32,
    objects=[
        dict(label='sky', polygon=[[0, 0], [31, 0], [31, 7], [0, 7]]),
        dict(label='road', polygon=[[0, 8], [31, 8], [31, 15], [0, 15]]),
        dict(label='cargroup', polygon=[[4, 9], [9, 9], [9, 13], [4, 13]]),
        dict(label='person', polygon=[[20, 4], [23, 5], [22, 12], [19, 11]]),
        dict(label='person', deleted=1, polygon=[[0, 0], [5, 0], [5, 5], [0, 5]]),
        dict(label='license plate', polygon=[[5, 11], [6, 11], [6, 12], [5, 12]]),
        dict(label='ego vehicle', polygon=[[12, 14], [18, 14], [18, 15], [12, 15]]),
    ],
)


@pytest.fixture
def root(tmp_path):
    """A whole download of four images."""
    for split, number in COUNTS.items():
        city = f'{split}ville'
        for folder in ('leftImg8bit', 'gtFine'):
            (tmp_path / folder / split / city).mkdir(parents=True)
        for index in range(number):
            stem = f'{city}_{index:06d}_000019'
            (tmp_path / 'leftImg8bit' / split / city / f'{stem}_leftImg8bit.png').touch()
            polygons = {**POLYGONS, 'objects': POLYGONS['objects'][: 7 - index]}
            (tmp_path / 'gtFine' / split / city / f'{stem}_gtFine_polygons.json').write_text(json.dumps(polygons))
    return tmp_path


@pytest.fixture
def fake_scripts(monkeypatch):
    """Stands in for cityscapesscripts, which need not be installed; notes what was drawn."""
    drawn = []

    def json2label(source, target, encoding):
        drawn.append(Path(source).name)
        if 'bad' in json.loads(Path(source).read_text()):
            Path(target).write_bytes(b'half')
            sys.exit(-1)  # as cityscapesscripts does with an unknown class
        assert encoding == 'trainIds'
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(target)

    module = types.SimpleNamespace(json2labelImg=json2label)
    monkeypatch.setattr(cityscapes.importlib, 'import_module', lambda name: module)
    return drawn


def _labels(root):
    return sorted(root.glob('gtFine/*/*/*.png'))


def test_makes_what_is_missing_and_leaves_the_rest(root, fake_scripts):
    """Guards restarts: a label that exists is neither drawn again nor touched."""
    first = root / 'gtFine/train/trainville/trainville_000000_000019_gtFine_labelTrainIds.png'
    first.write_bytes(b'mine')
    done = prepare_cityscapes(root, counts=COUNTS)
    assert (done.made, done.skipped, done.counts) == (3, 1, COUNTS)
    assert first.read_bytes() == b'mine'
    assert first.name.replace('labelTrainIds.png', 'polygons.json') not in fake_scripts
    again = prepare_cityscapes(root, counts=COUNTS)
    assert (again.made, again.skipped, len(fake_scripts)) == (0, 4, 3)


@pytest.mark.parametrize('jobs', [1, 2])
def test_a_bad_file_is_named_and_leaves_nothing_half_made(root, fake_scripts, jobs):
    """Guards against a pool that hangs when a worker leaves by sys.exit, and against a truncated label."""
    bad = root / 'gtFine/val/valville/valville_000000_000019_gtFine_polygons.json'
    bad.write_text('{"bad": 1}')
    with pytest.raises(ValueError, match=rf'1 of 4 labels could not be drawn.*{bad.name}.*SystemExit'):
        prepare_cityscapes(root, counts=COUNTS, jobs=jobs)
    assert len(_labels(root)) == 3
    assert not any('val' in path.name for path in _labels(root))


def test_the_real_counts_are_the_default(root):
    """Guards the numbers 2,975, 500 and 1,525."""
    with pytest.raises(FileNotFoundError, match=r'train: 2 of 2975; val: 1 of 500; test: 1 of 1525'):
        prepare_cityscapes(root)


@pytest.mark.parametrize('folder', ['leftImg8bit', 'gtFine'])
def test_a_partial_or_missing_download_says_what_to_fetch(root, folder):
    """Guards each of the two archives, whole and in part, before anything is drawn."""
    fetch = rf'{folder}_trainvaltest.zip.*cityscapes-dataset.com.*unpack it in'
    next(root.glob(f'{folder}/val/*/*')).unlink()
    with pytest.raises(FileNotFoundError, match=rf'{folder}.*val: 0 of 1\. Fetch {fetch}'):
        prepare_cityscapes(root, counts=COUNTS)
    assert not _labels(root)
    (root / folder).rename(root / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=rf'{folder} does not exist. Fetch {fetch}'):
        check_download(root, COUNTS)


def test_a_surplus_and_a_mismatch_are_errors(root):
    """Guards counts that agree although image and polygons belong to different frames."""
    image = next(root.glob('leftImg8bit/val/*/*'))
    image.rename(image.with_name('valville_000009_000019_leftImg8bit.png'))
    with pytest.raises(ValueError, match=r"2 files of split 'val'.*valville_000000_000019"):
        check_download(root, COUNTS)
    image.touch()
    with pytest.raises(ValueError, match='val: 2 of 1'):
        check_download(root, COUNTS)


def test_missing_cityscapesscripts_and_bad_jobs(root, monkeypatch):
    """Guards the optional dependency: the message is the command that mends it."""
    monkeypatch.setitem(sys.modules, 'cityscapesscripts', None)
    monkeypatch.setitem(sys.modules, 'cityscapesscripts.preparation.json2labelImg', None)
    with pytest.raises(ModuleNotFoundError, match='pip install cityscapesscripts'):
        prepare_cityscapes(root, counts=COUNTS)
    with pytest.raises(ValueError, match='jobs must be at least 1, got 0'):
        prepare_cityscapes(root, counts=COUNTS, jobs=0)


@pytest.mark.parametrize('jobs', [1, 2])
def test_labels_equal_cityscapesscripts(root, tmp_path, jobs):
    """Guards the encoding (trainIds, not ids) and the processes."""
    original = pytest.importorskip(
        'cityscapesscripts.preparation.json2labelImg',
        reason='cityscapesscripts is not installed',
        exc_type=ImportError,
    )
    done = prepare_cityscapes(root, jobs=jobs, counts=COUNTS)
    assert done.made == len(_labels(root)) == 4
    for label in _labels(root):
        polygons = label.with_name(label.name.replace('labelTrainIds.png', 'polygons.json'))
        original.json2labelImg(str(polygons), str(tmp_path / 'expected.png'), 'trainIds')
        values = np.array(Image.open(label))
        np.testing.assert_array_equal(values, np.array(Image.open(tmp_path / 'expected.png')))
        assert {0, 10, 13} <= set(values.ravel().tolist()) <= {0, 10, 11, 13, 255}


def test_the_command(root, tmp_path, fake_scripts, monkeypatch, capsys):
    """Guards the exit status, the closing line, and against a traceback for a user's mistake."""
    main = runpy.run_path(str(TOOL))['main']
    monkeypatch.setattr(sys, 'argv', ['prepare_cityscapes.py', str(tmp_path / 'nothing'), '--jobs', '1'])
    assert main() == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'does not exist' in error and error.count('\n') == 1
    monkeypatch.setattr(sys, 'argv', ['prepare_cityscapes.py', str(root), '--jobs', '1'])
    monkeypatch.setitem(
        main.__globals__, 'prepare_cityscapes', lambda *a, **k: prepare_cityscapes(*a, **k, counts=COUNTS)
    )
    assert main() == 0
    assert '4 labels made, 0 were there already. Complete: train 2, val 1, test 1.' in capsys.readouterr().out
