"""Every classification config loads, builds and says what the paper's recipe says; the digits and JPEG files train."""

import copy
import io
import json
import math
import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmpretrain.registry import MODELS, TRANSFORMS
from mmpretrain.structures import DataSample
from PIL import Image

from mmseg_isda.commands.launch import build_runner, prepare_training
from mmseg_isda.engine import bind_isda_losses

REPO = Path(__file__).parents[2]
FOLDERS = ('cifar', 'imagenet', 'digits')
CONFIGS = sorted(path for name in FOLDERS for path in (REPO / 'configs' / name).glob('*.py'))
TWINS = [path for path in CONFIGS if '_isda' in path.stem]
ROWS = [path for path in CONFIGS if path.parent.name == 'cifar' and 'jpeg' not in path.stem]
IMAGENET = [path for path in CONFIGS if path.parent.name == 'imagenet']
CIFAR_NETWORKS = (
    'resnet32', 'resnet110', 'seresnet110', 'wrn-16-8', 'wrn-28-10', 'resnext29-8x64d', 'densenet-bc-100-12',
    'shake-shake-26-2x32d', 'shake-shake-26-2x112d',
)  # fmt: skip
AUGMENTED = ('wrn-28-10', 'shake-shake-26-2x32d', 'shake-shake-26-2x112d')
IMAGENET_NETWORKS = (
    'resnet50', 'resnet101', 'resnet152', 'resnext50-32x4d', 'resnext101-32x8d', 'densenet-bc-121', 'densenet-bc-265',
)  # fmt: skip
# By family: epochs, batch, weight decay, learning rate, factor of each drop, epochs of the drops (none: cosine).
RECIPES = {
    'resnet': (160, 128, 1e-4, 0.1, 0.1, (80, 120)),
    'seresnet': (200, 128, 1e-4, 0.1, 0.1, (80, 120, 160)),
    'wrn': (240, 128, 5e-4, 0.1, 0.2, (60, 120, 160, 200)),
    'densenet': (300, 64, 1e-4, 0.1, 0.1, (150, 200, 250)),
    'resnext': (350, 128, 5e-4, 0.05, 0.1, (150, 225, 300)),
    'shake': (1800, 64, 1e-4, 0.1, None, ()),
    'imagenet': (300, 64, 1e-4, 0.2, None, ()),
}


def _ids(paths):
    return [path.stem for path in paths]


@cache
def _cached(path):
    return Config.fromfile(path)


def _load(path):
    return copy.deepcopy(_cached(path))


def _baseline(twin):
    name = twin.stem
    for kind in ('-identity', '-diagonal', '-shared', '-constant'):
        name = name.replace(f'_isda{kind}_', '_')
    return twin.with_name(f'{name.replace("_isda_", "_")}.py')


def _family(path):
    if path.parent.name == 'imagenet':
        return 'imagenet'
    return next(name for name in ('seresnet', 'resnext', 'resnet', 'wrn', 'densenet', 'shake') if name in path.stem)


def _types(pipeline):
    return [step['type'] for step in pipeline]


# --- the set ---------------------------------------------------------------------------------------------------------


def test_the_set_is_complete():
    """Guards a row of Tables 1, 2, 4 or 8 that was forgotten, and a twin without its other half."""
    expected = set()
    for data in ('cifar10', 'cifar100'):
        for network in CIFAR_NETWORKS:
            batch = 64 if network.startswith(('dense', 'shake')) else 128
            for augmentation in ('', *(('_cutout', '_randaugment', '_autoaugment') if network in AUGMENTED else ())):
                expected |= {f'{network}{augmentation}{isda}_b{batch}_{data}' for isda in ('', '_isda')}
    for kind in ('identity', 'diagonal', 'shared', 'constant'):
        expected |= {f'wrn-28-10_isda-{kind}_b128_{data}' for data in ('cifar10', 'cifar100')}
        expected |= {f'wrn-28-10_cutout_isda-{kind}_b128_cifar100'}
    assert {path.stem for path in ROWS} == expected and len(ROWS) == 84
    assert {path.stem for path in IMAGENET} == {
        f'{network}{isda}_8xb64_imagenet' for network in IMAGENET_NETWORKS for isda in ('', '_isda')
    }
    assert {_baseline(path) for path in TWINS} == set(CONFIGS) - set(TWINS)


@pytest.mark.parametrize('path', TWINS, ids=_ids(TWINS))
def test_a_twin_differs_from_its_baseline_in_the_loss_only(path):
    """Guards the comparison itself, and the covariance and strength that each row of the tables is about."""
    twin, base = _load(path).to_dict(), _load(_baseline(path)).to_dict()
    new, old = (cfg['model']['head'].pop('loss') for cfg in (twin, base))
    last = dict(type='LastEpochsMean', num_epochs=3 if '_cpu-' in path.stem else 10)
    assert twin['default_hooks']['last_epochs'] == last
    assert old == dict(type='CrossEntropyLoss', loss_weight=1.0)
    kind = next((kind for kind in ('identity', 'diagonal', 'shared') if f'isda-{kind}_' in path.stem), 'full')
    strength = 0.5
    if path.parent.name == 'imagenet':
        kind = 'diagonal'
        strength = dict(resnet101=5.0).get(path.stem.split('_')[0], 1.0 if 'densenet' in path.stem else 7.5)
    expected = dict(type='ISDALoss', loss_weight=1.0, lambda_0=strength, covariance=kind)
    if 'isda-constant' in path.stem:
        expected['schedule'] = 'constant'
    assert new == expected
    assert twin == base


@cache
def _build_on_meta(model):
    """The whole network without memory. The host reads numbers from a `linspace`, which must be real ones."""
    linspace = torch.linspace
    torch.linspace = lambda *args, **options: linspace(*args, **{**options, 'device': 'cpu'})
    try:
        with torch.device('meta'):
            return MODELS.build(json.loads(model))
    finally:
        torch.linspace = linspace


@pytest.mark.parametrize('path', CONFIGS, ids=_ids(CONFIGS))
def test_builds_and_computes_a_loss(path):
    """Guards the widths between backbone and head, the number of classes, and leftovers of inheritance."""
    cfg = _load(path)
    init_default_scope(cfg.default_scope)
    plain = cfg.to_dict()['model']
    plain['head']['loss'] = dict(type='CrossEntropyLoss')
    classes = next(count for name, count in (('imagenet', 1000), ('cifar100', 100), ('', 10)) if name in path.stem)
    size, channels = (64, 3) if classes == 1000 else (8, 1) if 'digits' in path.stem else (32, 3)
    logits = _build_on_meta(json.dumps(plain)).forward(torch.empty(2, channels, size, size, device='meta'))
    assert tuple(logits.shape) == (2, classes) and cfg.data_preprocessor.num_classes == classes
    cfg.model.head.in_channels = 8  # statistics of the real size take up to 400 MB
    head = MODELS.build(cfg.model.head).train()
    losses = bind_isda_losses(head) if '_isda' in path.stem else {}
    for loss in losses.values():
        loss.strength = 1.0
    samples = [DataSample().set_gt_label(label) for label in (0, 0, 1, 1)]
    value = head.loss((torch.randn(4, 8),), samples)['loss']
    assert torch.isfinite(value) and value > 0
    assert [loss.check_iteration()['shift'] > 0 for loss in losses.values()] == [True] * ('_isda' in path.stem)


# --- the recipes -----------------------------------------------------------------------------------------------------


@cache
def _rates(schedule, optim_wrapper, epochs):
    """The learning rate of each epoch, as the host's scheduler sets it."""
    wrapper = DefaultOptimWrapperConstructor(json.loads(optim_wrapper))(torch.nn.Linear(1, 1))
    scheduler = PARAM_SCHEDULERS.build(dict(**json.loads(schedule), optimizer=wrapper))
    rates = []
    for _ in range(epochs):
        rates += wrapper.get_lr()['lr']
        wrapper.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize('path', [*ROWS, *IMAGENET], ids=_ids([*ROWS, *IMAGENET]))
def test_the_papers_schedule(path):
    """Guards epochs, batch, decay, momentum, and the learning rate of every epoch."""
    cfg = _load(path)
    epochs, batch, decay, rate, factor, drops = RECIPES[_family(path)]
    nesterov = {} if _family(path) == 'imagenet' else dict(nesterov=True)
    optimizer = dict(type='SGD', lr=rate, momentum=0.9, weight_decay=decay, **nesterov)
    assert cfg.optim_wrapper.to_dict() == dict(type='OptimWrapper', optimizer=optimizer)
    assert dict(cfg.train_cfg) == dict(by_epoch=True, max_epochs=epochs, val_interval=1)
    assert cfg.train_dataloader.batch_size == batch and f'b{batch}_' in path.stem
    assert cfg.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert 'drop_last' not in cfg.train_dataloader
    (schedule,) = cfg.param_scheduler
    for epoch, found in enumerate(_rates(json.dumps(schedule), json.dumps(cfg.optim_wrapper), epochs)):
        expected = rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        if drops:
            expected = rate * factor ** sum(epoch >= drop for drop in drops)
        assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9), epoch


@pytest.mark.parametrize('path', ROWS, ids=_ids(ROWS))
def test_the_papers_pipeline(path):
    """Guards order and settings of the transforms, by the configs and by a sample that goes through them."""
    cfg = _load(path)
    init_default_scope(cfg.default_scope)
    train = cfg.train_dataloader.dataset.pipeline
    name = next((n for n in ('cutout', 'randaugment', 'autoaugment') if f'_{n}_' in path.stem), None)
    middle = dict(randaugment=['PillowRandAugment'], autoaugment=['CIFARAutoAugment']).get(name, [])
    middle = [*middle, 'ClippedCutout'] if name else []
    assert _types(train) == ['ReflectCrop', 'RandomFlip', *middle, 'PackInputs']
    assert train[0] == dict(type='ReflectCrop', crop_size=32, padding=4) and train[1]['prob'] == 0.5
    if name:
        assert train[-2] == dict(type='ClippedCutout', length=16)
    if name == 'randaugment':
        shake, hundred = path.stem.startswith('shake'), path.stem.endswith('100')
        settings = (2, 14) if hundred else (3, 9) if shake else (3, 5)
        assert (train[2]['num_ops'], train[2]['magnitude']) == settings
    dataset = 'CIFAR100' if path.stem.endswith('cifar100') else 'CIFAR10'
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'test'), (cfg.test_dataloader, 'test')):
        assert (loader.dataset.type, loader.dataset.split) == (dataset, split)
        assert loader.dataset.data_root == f'data/{dataset.lower()}'
    assert _types(cfg.val_dataloader.dataset.pipeline) == _types(cfg.test_dataloader.dataset.pipeline) == ['PackInputs']
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    results = dict(img=image, gt_label=3)
    for step in train:
        results = TRANSFORMS.build(step)(results)
    assert tuple(results['inputs'].shape) == (3, 32, 32) and results['inputs'].dtype == torch.uint8
    assert results['data_samples'].gt_label.tolist() == [3]


@pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'imagenet_bs64', 'digits'])
def test_normalisation(name):
    """Guards means and deviations, and red and blue exchanged: CIFAR yields red first, image files blue."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(REPO / f'configs/_base_/datasets/{name}.py')
    mean, std = {
        'cifar': ([125.3, 123.0, 113.9], [63.0, 62.1, 66.7]),
        'image': ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        'digit': ([77.8], [95.9]),
    }[name[:5]]
    pre = MODELS.build(dict(type='ClsDataPreprocessor', **cfg.data_preprocessor))
    images = torch.randint(0, 256, (2, len(mean), 4, 4), dtype=torch.uint8)
    found = pre(dict(inputs=images, data_samples=None))['inputs']
    colours = images.flip(1) if name.startswith('imagenet') else images
    expected = (colours.double() - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_digits_have_the_mean_and_deviation_of_their_images():
    """Guards figures that were typed by hand."""
    images = pytest.importorskip('sklearn.datasets').load_digits().images[:1297] * 255 / 16
    cfg = Config.fromfile(REPO / 'configs/_base_/datasets/digits.py').data_preprocessor
    assert abs(images.mean() - cfg.mean[0]) < 0.5 and abs(images.std() - cfg.std[0]) < 0.5


@pytest.mark.parametrize('path', IMAGENET, ids=_ids(IMAGENET))
def test_imagenet_data_and_network(path, tmp_path):
    """Guards the sizes of training and test images, Pillow's resizing, and the host's zeros in the last batch norm."""
    cfg = _load(path)
    init_default_scope(cfg.default_scope)
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / 'image.jpg')
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.test_dataloader, 'val')):
        results = dict(img_path=str(tmp_path / 'image.jpg'), gt_label=7)
        assert (loader.dataset.type, loader.dataset.split) == ('ImageNet', split)
        for step in loader.dataset.pipeline:
            if step['type'].startswith(('RandomResized', 'Resize')):
                assert step['backend'] == 'pillow'
            results = TRANSFORMS.build(step)(results)
        assert tuple(results['inputs'].shape) == (3, 224, 224)
    assert cfg.test_dataloader.dataset.pipeline[1]['scale'] == 256
    if 'densenet' not in path.stem:
        assert cfg.model.backbone.zero_init_residual is False
    assert cfg.val_evaluator.topk == (1, 5)


@pytest.mark.parametrize('name', ['densenet-bc-121', 'resnet50'])
def test_imagenet_networks_begin_normal(name):
    """Guards DenseNet, for which the host has no initialisation of its own."""
    init_default_scope('mmpretrain')
    backbone = copy.deepcopy(Config.fromfile(REPO / f'configs/_base_/models/imagenet_{name}.py').model.backbone)
    backbone.update(arch=dict(growth_rate=8, depths=[1] * 4, init_channels=64)) if 'dense' in name else None
    model = MODELS.build(backbone)
    model.init_weights()
    stem = model.stem[0] if 'dense' in name else model.conv1
    weight = stem.weight.detach() / math.sqrt(2 / (7 * 7 * 64))
    assert abs(weight.std().item() - 1) < 0.05 and abs((weight.abs() > 1.96).float().mean().item() - 0.05) < 0.02
    if name == 'resnet50':
        assert torch.all(model.layer1[0].bn3.weight == 1)


# --- what runs here --------------------------------------------------------------------------------------------------


def _train(path, work_dir, **options):
    cfg, notes = prepare_training(str(path), work_dir=str(work_dir), seed=0, options=options)
    cfg.experiment_name = f'{path.stem}_{id(work_dir)}'
    runner = build_runner(cfg, notes)
    runner.train()
    return runner


def test_the_digits_are_learned(tmp_path):
    """Guards the default that needs no download, from file to accuracy: labels, normalisation, loss, hooks."""
    pytest.importorskip('sklearn')
    path = REPO / 'configs/digits/resnet14_isda_b64-30e_digits.py'
    options = {'train_cfg.max_epochs': 5, 'param_scheduler.0.T_max': 5, 'model.backbone.depth': 8}
    runner = _train(path, tmp_path, **options)
    assert runner.val_loop.run()['accuracy/top1'] > 85
    assert runner.model.head.loss_module.statistics.count.sum() == 5 * 1297


def _jpeg_archive(root, count):
    """Ten classes of `count` JPEG files each, in the layout of CIFAR-10's archive; the colour tells the class."""
    random = np.random.default_rng(0)
    with tarfile.open(root / 'train.tar.xz', 'w:xz', preset=0) as archive:
        for label in range(10):
            for index in range(count):
                image = np.clip(random.normal(25 * label, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                data = io.BytesIO()
                Image.fromarray(image).save(data, 'JPEG')
                info = tarfile.TarInfo(f'train/class{label}/{index:04}.jpg')
                info.size = data.tell()
                data.seek(0)
                archive.addfile(info, data)


def test_jpeg_files_are_trained_and_validated_apart(tmp_path):
    """Guards the archive's road to training: 40 of 50 images to train, 10 held out."""
    _jpeg_archive(tmp_path, 5)
    options = {'train_cfg.max_epochs': 1}
    for loader in ('train', 'val', 'test'):
        place = f'{loader}_dataloader.dataset'
        options |= {f'{place}.num_images': 10, f'{place}.dataset.data_root': str(tmp_path)}
        options |= {f'{loader}_dataloader.{key}': value for key, value in dict(num_workers=0, batch_size=20).items()}
        options[f'{loader}_dataloader.persistent_workers'] = False
    runner = _train(REPO / 'configs/cifar/resnet8_isda_cpu-b128-10e_cifar10-jpeg.py', tmp_path / 'run', **options)
    train, val = runner.train_dataloader.dataset, runner.val_dataloader.dataset
    assert (len(train), len(val)) == (40, 10) and sorted(val.get_gt_labels()) == list(range(10))
    assert not {sample['inputs'].numpy().tobytes() for sample in val} & {
        train.dataset.get_data_info(int(index))['img'].transpose(2, 0, 1).tobytes() for index in train.indices
    }
    assert _types_of(train.dataset) == ['ReflectCrop', 'RandomFlip', 'PackInputs'] and _types_of(val.dataset) == [
        'PackInputs'
    ]
    assert runner.model.head.loss_module.statistics.count.tolist() == [4] * 10


def _types_of(dataset):
    return [type(step).__name__ for step in dataset.pipeline.transforms]


def test_a_config_alone_registers_what_it_names_without_mmsegmentation():
    """Guards the host's own train script, and users who have MMPretrain alone."""
    code = f"""
import sys
sys.modules['mmseg'] = None
from mmengine.config import Config
Config.fromfile({str(CONFIGS[0])!r})
from mmengine.registry import HOOKS
from mmpretrain.registry import DATASETS, MODELS, TRANSFORMS
names = [
    ('ISDALoss', MODELS), ('CIFARResNet', MODELS), ('CIFARSEResNet', MODELS), ('CIFARResNeXt', MODELS),
    ('CIFARDenseNet', MODELS), ('WideResNet', MODELS), ('ShakeShake', MODELS), ('ReflectCrop', TRANSFORMS),
    ('SmallImageDataset', DATASETS), ('HandwrittenDigits', DATASETS), ('SVHN', DATASETS),
    ('ISDAHook', HOOKS), ('LastEpochsMean', HOOKS),
]
print([name for name, registry in names if name not in registry.module_dict])
"""
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(REPO), os.environ.get('PYTHONPATH', '')])}
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.splitlines()[-1:] == ['[]'], done.stdout + done.stderr
