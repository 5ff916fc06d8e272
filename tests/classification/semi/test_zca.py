import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from mmengine.registry import init_default_scope

from mmseg_isda.classification.semi import zca as module
from mmseg_isda.classification.semi.zca import ZCADataset, zca_matrix
from mmseg_isda.errors import MissingPathError, OptionError

MEAN, STD = [100.0], [50.0]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def images(path, number=200, seed=0, size=4):
    """An npz file of correlated grey images."""
    random = np.random.RandomState(seed)
    noise = random.randn(number, size * size) @ random.randn(size * size, size * size)
    pixels = np.clip(128 + 20 * noise, 0, 255).astype(np.uint8).reshape(number, size, size)
    np.savez(path, images=pixels, labels=np.arange(number) % 3)
    return dict(type='SmallImageDataset', source=str(path), grey=True)


def white(dataset, path, **options):
    return ZCADataset(dataset, str(path), MEAN, STD, pipeline=[dict(type='PackInputs')], **options)


def test_whitened_images_are_uncorrelated_and_as_near_as_can_be():
    """Guards ZCA against other whitenings: the matrix is the symmetric root of the inverse covariance."""
    x = np.random.RandomState(0).randn(500, 6) @ np.random.RandomState(1).randn(6, 6) + 3
    mean, matrix = zca_matrix(x.astype(np.float32))
    covariance = np.cov(x.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(matrix, vectors @ np.diag(values**-0.5) @ vectors.T, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.cov(((x - mean) @ matrix).T, bias=True), np.eye(6), atol=1e-3)


def test_regularization_is_added_outside_the_root():
    """Guards the published form 1/sqrt(S) + r."""
    x = np.random.RandomState(0).randn(300, 2) * [10, 0.1]
    _, matrix = zca_matrix(x, regularization=0.5)
    np.testing.assert_allclose(np.diag(matrix), 1 / x.std(0) + 0.5, rtol=0.05)


def test_pixels_without_variance_are_dropped():
    """Guards digits, whose corners are always black: 1/sqrt(0) would spoil every pixel."""
    x = np.random.RandomState(0).randn(50, 3) * [1, 0, 1] + [0, 7, 0]
    mean, matrix = zca_matrix(x)
    out = (x - mean) @ matrix
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.var(0), [1, 0, 1], atol=1e-3)


def test_fitted_once_and_read_by_the_validation_set(tmp_path, monkeypatch):
    """Guards the cache, and test images that are whitened by the training set's matrix."""
    train, val = images(tmp_path / 'train.npz'), images(tmp_path / 'val.npz', number=20, seed=5)
    file = tmp_path / 'new' / 'zca.npz'
    first = white(train, file, fit=True)
    flat = first.white.reshape(200, -1)
    np.testing.assert_allclose(np.cov(flat.T, bias=True), np.eye(16), atol=0.02)
    monkeypatch.setattr(module, 'zca_matrix', None)  # not fitted again
    np.testing.assert_array_equal(white(train, file, fit=True).white, first.white)
    tested = white(val, file)
    with np.load(file) as arrays:
        x = (np.load(tmp_path / 'val.npz')['images'].reshape(20, -1) - 100.0) / 50
        np.testing.assert_allclose(tested.white.reshape(20, -1), (x - arrays['mean']) @ arrays['matrix'], atol=1e-3)
    sample = tested[3]
    assert sample['inputs'].shape == (1, 4, 4) and sample['inputs'].dtype.is_floating_point
    assert int(sample['data_samples'].gt_label) == 0 and tested.get_gt_labels().tolist()[:4] == [0, 1, 2, 0]


def test_an_image_can_be_changed_without_changing_the_data_set(tmp_path):
    """Guards the whitened array against transforms that work in place."""
    data = white(images(tmp_path / 'train.npz'), tmp_path / 'zca.npz', fit=True)
    data.get_data_info(0)['img'][:] = 0
    assert data.get_data_info(0)['img'].any()


def test_a_matrix_of_other_images_or_settings_is_refused(tmp_path):
    train, file = images(tmp_path / 'train.npz'), tmp_path / 'zca.npz'
    with pytest.raises(MissingPathError, match='training fits it'):
        white(train, file)
    white(train, file, fit=True)
    for dataset, options in ((images(tmp_path / 'b.npz', seed=9), dict(fit=True)), (train, dict(regularization=0.1))):
        with pytest.raises(OptionError, match='was fitted to other images or settings'):
            white(dataset, file, **options)
    with pytest.raises(OptionError, match='was fitted to other images or settings'):
        white(images(tmp_path / 'c.npz', size=5), file)
