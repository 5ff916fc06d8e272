import numpy as np
import pytest

pytest.importorskip('mmpretrain')
pytest.importorskip('scipy')

from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from scipy.io import savemat
from torchvision import datasets as tv

from mmseg_isda.errors import OptionError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Files as the data set's authors have them: (32, 32, 3, N), the digit 0 as class 10."""
    init_default_scope('mmpretrain')
    pixels = np.random.RandomState(0).randint(256, size=(32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / 'test_32x32.mat', dict(X=pixels, y=np.array([[10], [1], [9], [10]])))
    monkeypatch.setattr(tv.SVHN, '_check_integrity', lambda self: True)
    return tmp_path, pixels


def test_images_and_labels_are_read(data):
    """Guards the axes of the images and the class of the digit 0. Nothing is downloaded."""
    folder, pixels = data
    svhn = DATASETS.build(dict(type='SVHN', data_root=str(folder), split='test', download=False))
    assert svhn.get_gt_labels().tolist() == [0, 1, 9, 0] and svhn.metainfo['classes'] == tuple('0123456789')
    np.testing.assert_array_equal(svhn.get_data_info(2)['img'], pixels[..., 2])


def test_what_is_missing_is_named(data, monkeypatch):
    folder, _ = data
    monkeypatch.undo()
    init_default_scope('mmpretrain')
    with pytest.raises(OptionError, match=r'train_32x32.mat cannot be read'):
        DATASETS.build(dict(type='SVHN', data_root=str(folder), split='train', download=False))
    with pytest.raises(ValueError, match="split must be one of 'train', 'extra', 'test', got 'val'"):
        DATASETS.build(dict(type='SVHN', data_root=str(folder), split='val'))
