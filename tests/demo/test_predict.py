"""Predictions of a sweep: scores of the classes, who is right, the pictures, and that nothing is done twice."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from demo import predict
from demo.predict import Sample, class_scores, find_config, predict_sweep, shown_pair, spread
from demo.predict import load_run as real_load_run
from mmseg_isda.errors import MissingPathError

SHAPE = (6, 8)


def dense(seed, index):
    rng = np.random.default_rng([seed, index])
    truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), SHAPE)
    return Sample(index, truth, rng.integers(0, 3, SHAPE, dtype=np.uint8))


def single(truth, predicted):
    return [Sample(i, np.array(t), np.array(p)) for i, (t, p) in enumerate(zip(truth, predicted, strict=True))]


def test_class_scores_of_pixels_are_iou():
    """Against scikit-learn's Jaccard score of the pixels that are scored."""
    metrics = pytest.importorskip('sklearn.metrics')
    samples = [dense(0, index) for index in range(5)]
    truth, found = (
        np.concatenate([getattr(s, key)[s.truth != 255] for s in samples]) for key in ('truth', 'predicted')
    )
    expected = 100 * metrics.jaccard_score(truth, found, average=None, labels=[0, 1, 2])
    *scores, absent = class_scores(samples, 4)
    assert scores == pytest.approx(expected) and absent is None


def test_class_scores_of_images_are_the_share_that_is_recognized():
    assert class_scores(single([0, 0, 1], [0, 1, 1]), 3) == [50.0, 100.0, None]


def test_who_is_right():
    first, second = single([0, 0, 0, 0], [0, 0, 1, 1]), single([0, 0, 0, 0], [0, 1, 0, 1])
    assert predict.who_is_right(first, second) == {'both': 25.0, 'first': 25.0, 'second': 25.0, 'neither': 25.0}


@pytest.mark.parametrize(('total', 'count', 'expected'), [(10, 2, [2, 7]), (3, 5, [0, 1, 2]), (1, 1, [0])])
def test_spread(total, count, expected):
    """The first images of a set are often of one kind."""
    assert spread(total, count) == expected


@pytest.mark.parametrize(('best', 'expected'), [('c', 'c'), ('a', 'b'), (None, 'b')])
def test_the_best_variant_is_shown_beside_the_baseline(best, expected):
    comparison = {'baseline': 'a', 'best': best, 'variants': [{'name': name} for name in 'abc']}
    assert shown_pair(comparison) == ['a', expected]


# --- a sweep ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep of two variants and two seeds, whose networks are stubs; counts how often one is loaded."""
    runs = [
        {'variant': name, 'seed': seed, 'folder': f'{name}/{seed}', 'error': None} for seed in (0, 1) for name in 'ab'
    ]
    comparison = {'baseline': 'a', 'best': None, 'variants': [{'name': 'a'}, {'name': 'b'}], 'runs': runs}
    path, image = tmp_path / 'sweep.json', tmp_path / 'street.png'
    cv2.imwrite(str(image), np.zeros((*SHAPE, 3), np.uint8))
    path.write_text(json.dumps(comparison))
    loaded = []
    dataset = SimpleNamespace(
        metainfo={'classes': ('x', 'y', 'z'), 'palette': [(0, 0, 0)] * 3},
        get_data_info=lambda index: {'img_path': str(image)},
    )

    def load_run(folder):
        loaded.append(str(folder))
        return folder, SimpleNamespace(dataset=dataset)

    def run(network, loader):
        seed = int(network.name)
        for sample in (dense(seed, index) for index in range(6)):
            yield sample if network.parent.name == 'a' else Sample(sample.index, sample.truth, sample.truth)

    monkeypatch.setattr(predict, 'load_run', load_run)
    monkeypatch.setattr(predict, 'predict', run)
    return path, tmp_path / 'out', loaded


def test_predictions_of_a_sweep(sweep):
    """The second variant predicts the truth: it is right everywhere, and its label maps are the true ones."""
    path, out, _ = sweep
    record = predict_sweep(path, out, pictures=2)
    assert json.loads(json.dumps(record)) == json.loads((out / 'predictions.json').read_text())
    assert record['kind'] == 'pixels' and [entry['seed'] for entry in record['right']] == [0, 1]
    assert all(entry['first'] == entry['neither'] == 0 < entry['second'] for entry in record['right'])
    scores = {(run['variant'], run['seed']): run['scores'] for run in record['runs']}
    assert scores['b', 1] == [100.0] * 3 and max(scores['a', 1]) < 100
    assert len(record['pictures']) == 2
    for picture in record['pictures']:
        maps = [cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED)
                for name in (picture['truth'], picture['predictions']['b'])]  # fmt: skip
        assert np.array_equal(*maps) and maps[0].shape == SHAPE


def test_nothing_is_predicted_twice(sweep):
    """The record names the sweep that it is of: the same one is done, a later one with other runs is not."""
    path, out, loaded = sweep
    predict_sweep(path, out, pictures=2)
    loaded.clear()
    predict_sweep(path, out, pictures=2)
    assert loaded == []
    comparison = json.loads(path.read_text())
    comparison['runs'][3]['error'] = 'killed'
    path.write_text(json.dumps(comparison))
    record = predict_sweep(path, out, pictures=2)
    assert loaded == ['a/0', 'b/0', 'a/1'] and [entry['seed'] for entry in record['right']] == [0]


def test_pairs_are_found_in_any_order_of_the_runs(sweep):
    """A sweep may list all seeds of one variant before those of the next."""
    path, out, _ = sweep
    comparison = json.loads(path.read_text())
    comparison['runs'].sort(key=lambda run: run['variant'])
    path.write_text(json.dumps(comparison))
    assert [entry['seed'] for entry in predict_sweep(path, out, pictures=1)['right']] == [0, 1]


def test_killed_predictions_are_not_taken_for_done(sweep, monkeypatch):
    """Pictures without a record are those of a run that was cut off."""
    path, out, loaded = sweep
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict, 'who_is_right', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        predict_sweep(path, out, pictures=2)
    assert not (out / 'predictions.json').exists()
    loaded.clear()
    predict_sweep(path, out, pictures=2)
    assert len(loaded) == 4


def test_missing_sweep_is_one_line(tmp_path):
    with pytest.raises(MissingPathError, match='run the sweep again'):
        predict_sweep(tmp_path / 'sweep.json', tmp_path, pictures=1)


def test_digits_that_a_network_has_wrong_are_shown(tmp_path):
    """In the order of the set, not picked; a label stays a number."""
    dataset = SimpleNamespace(get_data_info=lambda index: {'img': np.full((8, 8), index, np.uint8)})
    pair = single([3, 4, 5, 6], [3, 9, 5, 9]), single([3, 4, 5, 6], [3, 4, 9, 9])
    entries = list(predict.write_pictures(tmp_path / 'p', dataset, pair, ('a', 'b'), 2))
    assert [(e['name'], e['truth'], e['predictions']) for e in entries] == [
        ('image 1', 4, {'a': 9, 'b': 4}),
        ('image 2', 5, {'a': 5, 'b': 9}),
    ]
    assert cv2.imread(str(tmp_path / entries[0]['image']), cv2.IMREAD_UNCHANGED).tolist() == [[1] * 8] * 8


# --- files of a run --------------------------------------------------------------------------------------------------


def test_missing_files_of_a_run(tmp_path):
    with pytest.raises(MissingPathError, match='has no config'):
        find_config(tmp_path)
    (tmp_path / 'config.py').write_text("default_scope = 'mmengine'\nwork_dir = 'elsewhere'")
    with pytest.raises(MissingPathError, match=f'{tmp_path} has no sound checkpoint'):
        real_load_run(tmp_path)
