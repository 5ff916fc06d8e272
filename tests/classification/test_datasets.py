"""Data sets of small images: every layout gives the same samples, and mistakes in files are named."""

import builtins
import io
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from PIL import Image
from torchvision import datasets as tv

from mmseg_isda.classification.datasets import HandwrittenDigits, SmallImageDataset
from mmseg_isda.commands.preflight import check_data
from mmseg_isda.errors import MissingPathError, OptionError
from mmseg_isda.files import MemoryBudget

CLASSES = ('ant', 'bee', 'cat')


def _images(count=6, channels=3):
    shape = (count, 8, 8, channels) if channels else (count, 8, 8)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


LABELS = np.array([0, 0, 1, 1, 1, 2])


def _png(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, 'PNG')
    return data.getvalue()


def _files(top='train/'):
    """Names and contents, in an order that is not alphabetic, with some that are no images."""
    images = _images()
    files = {f'{top}{CLASSES[label]}/{index:04}.png': _png(images[index]) for index, label in enumerate(LABELS)}
    names = [f'{top}README.md', *reversed(files), f'{top}ant/._0000.png', f'{top}ant/list.txt']
    return {name: files.get(name, b'no image') for name in names}


def _write(root, layout, files):
    """Writes files as a folder or an archive, and returns the data set's `source`."""
    if layout == 'folder':
        for name, data in files.items():
            path = root / 'images' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return 'images'
    source = f'images{layout}'
    if layout == '.zip':
        with zipfile.ZipFile(root / source, 'w') as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return source
    with tarfile.open(root / source, 'w:' + layout.removeprefix('.tar').removeprefix('.')) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return source


def _build(root, source, **options):
    init_default_scope('mmpretrain')
    return DATASETS.build(dict(type='SmallImageDataset', data_root=str(root), source=source, **options))


def _check(dataset):
    assert dataset.CLASSES == CLASSES and len(dataset) == 6
    assert dataset.get_gt_labels().tolist() == LABELS.tolist()
    for index, image in enumerate(_images()):
        assert np.array_equal(dataset[index]['img'], image)


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('layout', ['folder', '.tar', '.tar.gz', '.tar.xz', '.tar.bz2', '.zip'])
def test_folders_and_archives(tmp_path, layout):
    """Guards pixels, colours, labels and the order of the samples, which must not be that of the archive."""
    source = _write(tmp_path, layout, _files())
    _check(_build(tmp_path, source))
    _check(_build(tmp_path, source, subset='train'))


def test_a_subset_leaves_the_rest_out(tmp_path):
    """Guards test images among those to train on."""
    files = {**_files(), **{f'test/{name}/9.png': _png(_images()[0]) for name in CLASSES}}
    source = _write(tmp_path, '.tar', files)
    _check(_build(tmp_path, source, subset='train'))
    assert len(_build(tmp_path, source, subset='test')) == 3
    assert len(_build(tmp_path, source)) == 9
    source = _write(tmp_path, '.zip', {**_files(), 'test/train/9.png': _png(_images()[0])})  # a class called train
    _check(_build(tmp_path, source, subset='train'))
    with pytest.raises(OptionError, match=r"holds no image below a folder 'val'"):
        _build(tmp_path, source, subset='val')


@pytest.mark.parametrize('subset', [None, 'train'])
@pytest.mark.parametrize('column', [False, True])
def test_arrays(tmp_path, subset, column):
    """Guards npz files, also with the column of labels and the prefixes that some have."""
    prefix = f'{subset}_' if subset else ''
    labels = LABELS[:, None] if column else LABELS
    arrays = {f'{prefix}images': _images(), f'{prefix}labels': labels, 'classes': np.array(CLASSES)}
    np.savez(tmp_path / 'small.npz', **arrays)
    _check(_build(tmp_path, 'small.npz', subset=subset))


def test_arrays_without_names(tmp_path):
    """Guards the number of classes where nothing names them, and names from the config."""
    np.savez(tmp_path / 'small.npz', images=_images(), labels=LABELS)
    assert _build(tmp_path, 'small.npz').CLASSES == ('0', '1', '2')
    _check(_build(tmp_path, 'small.npz', classes=CLASSES))


def test_grey_images(tmp_path):
    """Guards the last axis, which the host's packing adds itself."""
    np.savez(tmp_path / 'small.npz', images=_images(channels=1), labels=LABELS)
    pipeline = [dict(type='PackInputs')]
    assert tuple(_build(tmp_path, 'small.npz', pipeline=pipeline)[0]['inputs'].shape) == (1, 8, 8)
    source = _write(tmp_path, '.tar', _files())
    assert tuple(_build(tmp_path, source, grey=True, pipeline=pipeline)[0]['inputs'].shape) == (1, 8, 8)
    assert tuple(_build(tmp_path, source, pipeline=pipeline)[0]['inputs'].shape) == (3, 8, 8)


def test_the_order_of_classes_may_be_given(tmp_path):
    """Guards labels that follow the alphabet although the config names another order."""
    source = _write(tmp_path, '.tar', _files())
    dataset = _build(tmp_path, source, classes=('cat', 'bee', 'ant'))
    assert dataset.get_gt_labels().tolist() == [2, 2, 1, 1, 1, 0]


def test_host_options(tmp_path):
    """Guards `indices`, the description, and an absolute source."""
    source = _write(tmp_path, '.tar.xz', _files())
    dataset = _build(tmp_path, source, indices=[5, 0])
    assert dataset.get_gt_labels().tolist() == [2, 0]
    assert 'images.tar.xz' in repr(dataset)
    _check(SmallImageDataset(source=str(tmp_path / source)))


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_a_missing_source_says_how_to_get_it(tmp_path):
    """Guards an error deep within a worker; the hint depends on the folder's name."""
    with pytest.raises(MissingPathError, match=r'train\.tar\.xz does not exist; set data_root and source to'):
        _build(tmp_path, 'train.tar.xz')
    (tmp_path / 'cifar10').mkdir()
    with pytest.raises(
        MissingPathError, match=r'link the folder of train\.tar\.xz to .*cifar10, or clone https://github\.com/'
    ):
        _build(tmp_path / 'cifar10', 'train.tar.xz')


def test_the_command_line_names_a_missing_folder(tmp_path):
    """Guards the check ahead of building, which prints one line without a traceback."""
    for name, hint in (('cifar10', 'CIFAR-10-images'), ('imagenet', 'ILSVRC2012_img_train.tar'), ('own', 'npz')):
        kind = dict(cifar10='SmallImageDataset', imagenet='ImageNet', own='SmallImageDataset')[name]
        dataset = dict(type=kind, data_root=str(tmp_path / name))
        cfg = Config(dict(train_dataloader=dict(dataset=dict(type='SubsetDataset', dataset=dataset))))
        with pytest.raises(MissingPathError, match=rf'{name} does not exist .*{hint}.*data_root=\.\.\.'):
            check_data(cfg, ['train_dataloader'])


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(images=_images()), r'has no array labels; it has: images'),
        (dict(x=_images()), r'has no array images and no labels; it has: x'),
        (dict(images=_images() / 255, labels=LABELS), r'8-bit integers .* got float64 of \(6, 8, 8, 3\)'),
        (dict(images=_images(channels=2), labels=LABELS), r'got uint8 of \(6, 8, 8, 2\)'),
        (dict(images=_images()[0, 0], labels=LABELS), r'got uint8 of \(8, 3\)'),
        (dict(images=_images(), labels=LABELS[:5]), r'labels must be 6 integers.* got int64 of \(5,\)'),
        (dict(images=_images(), labels=LABELS / 2), r'labels must be 6 integers.* got float64'),
        (dict(images=_images(), labels=LABELS - 1), r'labels must be 0 to 1, got -1 for image 0 \(2 labels of 6'),
        (dict(images=_images(), labels=LABELS, classes=CLASSES[:2]), r'0 to 1, got 2 for image 5 \(1 labels of 6'),
        (dict(images=_images(0), labels=LABELS[:0]), r'there is no image in it'),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    """Guards against training on what only looks like labels and images."""
    np.savez(tmp_path / 'small.npz', **arrays)
    with pytest.raises(OptionError, match=message):
        _build(tmp_path, 'small.npz')


def test_pickled_arrays_are_refused(tmp_path):
    """Guards code that hides in a file of data."""
    np.savez(tmp_path / 'small.npz', images=np.array([dict()], dtype=object), labels=LABELS)
    with pytest.raises(OptionError, match=r'cannot be read.*allow_pickle'):
        _build(tmp_path, 'small.npz')


@pytest.mark.parametrize('layout', ['.tar', '.tar.gz', '.tar.xz', '.tar.bz2', '.zip', '.npz'])
def test_a_broken_download_is_named(tmp_path, layout):
    """Guards half an archive that trains on half of the images, and tracebacks of five libraries."""
    if layout == '.npz':
        np.savez(tmp_path / 'images.npz', images=_images(), labels=LABELS)
    else:
        _write(tmp_path, layout, _files())
    path = tmp_path / f'images{layout}'
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(OptionError, match=rf'images\{layout} cannot be read; is it complete\?'):
        _build(tmp_path, path.name)


@pytest.mark.parametrize(
    ('files', 'options', 'message'),
    [
        ({'a/0.png': _png(_images()[0]), 'b/1.png': _png(_images()[0, :4])}, {}, r'one size, got \(4, 8\) for b/1'),
        ({'a/0.png': b'broken'}, {}, r'a/0\.png cannot be read as an image'),
        ({'0.png': _png(_images()[0])}, {}, r'holds no image: needed is a folder or an archive'),
        (_files(), dict(classes=('ant', 'bee')), r'class folders ant, bee, cat, but `classes` names ant, bee'),
    ],
)
def test_wrong_files_are_named(tmp_path, files, options, message):
    """Guards samples that would be dropped, or labelled wrongly, without a word."""
    source = _write(tmp_path, '.tar', files)
    with pytest.raises(OptionError, match=message):
        _build(tmp_path, source, **options)


def _bomb(root, kind):
    """Some 30 kB that unpack to 12 MB or more."""
    zeros, big = bytes(12 << 20), io.BytesIO()
    Image.new('L', (4000, 4000)).save(big, 'PNG')
    if kind == 'npz':
        np.savez_compressed(root / 'bomb.npz', images=np.frombuffer(zeros, np.uint8), labels=LABELS)
    elif kind == 'tar.xz':
        with tarfile.open(root / 'bomb.tar.xz', 'w:xz', preset=0) as archive:
            info = tarfile.TarInfo('ant/0.png')
            info.size = len(zeros)
            archive.addfile(info, io.BytesIO(zeros))
    elif kind == 'zip':
        with zipfile.ZipFile(root / 'bomb.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('ant/0.bmp', zeros)
    elif kind == 'image.zip':
        with zipfile.ZipFile(root / 'bomb.image.zip', 'w') as archive:
            archive.writestr('ant/0.png', big.getvalue())
    else:
        (root / 'bomb.folder' / 'ant').mkdir(parents=True)
        (root / 'bomb.folder' / 'ant' / '0.png').write_bytes(big.getvalue())


@pytest.mark.parametrize('kind', ['npz', 'tar.xz', 'zip', 'image.zip', 'folder'])
def test_decompression_bombs_take_no_memory(tmp_path, monkeypatch, kind):
    """A file of 3 MB can unpack to 6 GB."""
    monkeypatch.setattr(MemoryBudget, 'floor', 1 << 20)
    _bomb(tmp_path, kind)
    tracemalloc.start()
    with pytest.raises(OptionError, match='bomb'):
        SmallImageDataset(source=str(tmp_path / f'bomb.{kind}'))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_an_unknown_kind_of_file_is_named(tmp_path):
    """Guards a message of the archive reader that says nothing."""
    (tmp_path / 'small.h5').write_bytes(b'')
    with pytest.raises(OptionError, match=r'source must be a folder or an archive .* got .*small\.h5'):
        _build(tmp_path, 'small.h5')


# --- digits ----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    """Guards values, labels and the split: disjoint, in order, covering all."""
    sklearn = pytest.importorskip('sklearn.datasets').load_digits()
    train, test = HandwrittenDigits(), HandwrittenDigits('test')
    assert (len(train), len(test)) == (1297, 500) and ''.join(train.CLASSES) == '0123456789'
    samples = [*train, *test]
    assert [sample['gt_label'] for sample in samples] == sklearn.target.tolist()
    images = np.stack([sample['img'] for sample in samples])
    assert images.dtype == np.uint8 and images.shape == (1797, 8, 8)
    assert np.abs(images / 255 - sklearn.images / 16).max() < 0.5 / 255 + 1e-9
    for part in (train, test):
        counts = np.bincount(part.get_gt_labels(), minlength=10) / len(part)
        assert counts.min() > 0.09 and counts.max() < 0.105


def test_digits_without_scikit_learn(monkeypatch):
    """Guards a bare ModuleNotFoundError: the message names the extra."""
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith('sklearn'):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=r"HandwrittenDigits needs scikit-learn.*pip install -e '\.\[analysis\]'"):
        HandwrittenDigits()


def test_digits_have_two_splits():
    """Guards a misspelt split that would be the test images."""
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'all', got 'val'"):
        HandwrittenDigits('val')


# --- house numbers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def svhn_files(tmp_path, monkeypatch):
    """Files as the data set's authors have them: (32, 32, 3, N), the digit 0 as class 10."""
    init_default_scope('mmpretrain')
    pixels = np.random.RandomState(0).randint(256, size=(32, 32, 3, 4), dtype=np.uint8)
    savemat = pytest.importorskip('scipy.io').savemat
    savemat(tmp_path / 'test_32x32.mat', dict(X=pixels, y=np.array([[10], [1], [9], [10]])))
    monkeypatch.setattr(tv.SVHN, '_check_integrity', lambda self: True)
    return tmp_path, pixels


def test_house_numbers_are_read(svhn_files):
    """Guards the axes of the images and the class of the digit 0. Nothing is downloaded."""
    folder, pixels = svhn_files
    svhn = DATASETS.build(dict(type='SVHN', data_root=str(folder), split='test', download=False))
    assert svhn.get_gt_labels().tolist() == [0, 1, 9, 0] and svhn.metainfo['classes'] == tuple('0123456789')
    np.testing.assert_array_equal(svhn.get_data_info(2)['img'], pixels[..., 2])


def test_missing_house_numbers_are_named(svhn_files, monkeypatch):
    folder, _ = svhn_files
    monkeypatch.undo()
    init_default_scope('mmpretrain')
    with pytest.raises(OptionError, match=r'train_32x32.mat cannot be read'):
        DATASETS.build(dict(type='SVHN', data_root=str(folder), split='train', download=False))
    with pytest.raises(ValueError, match="split must be one of 'train', 'extra', 'test', got 'val'"):
        DATASETS.build(dict(type='SVHN', data_root=str(folder), split='val'))
