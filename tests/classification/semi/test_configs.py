"""Every cell of Table 6 loads, builds and says what the paper's recipe says."""

from functools import cache
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS, TRANSFORMS

from mmseg_isda.engine.semi import MultiBranch

REPO = Path(__file__).parents[3]
CELLS = sorted((REPO / 'configs' / 'semi').glob('*cnn13*.py'))
DIGITS = sorted((REPO / 'configs' / 'digits' / 'semi').glob('*.py'))
OTHERS = sorted((REPO / 'configs' / 'semi').glob('*cpu*.py'))
LABELS = {'cifar10': (1000, 2000, 4000), 'cifar100': (10000, 20000), 'svhn': (500,)}
# By method: data sets, largest weight by data set, end of the ramp, what it counts.
METHODS = {
    'pi': (('cifar10', 'cifar100'), {}, 100, (1, 80, True)),
    'temporal-ensembling': (('cifar10', 'cifar100'), {'cifar10': 30}, 100, (1, 80, True)),
    'mean-teacher': (('cifar10', 'cifar100', 'svhn'), {'svhn': 1}, 100, (0, 40_000, False)),
    'vat': (('cifar10', 'cifar100', 'svhn'), {}, 1, (0, 0, True)),
}


def ids(paths):
    return [path.stem for path in paths]


@cache
def load(path):
    return Config.fromfile(path)


def test_the_table_is_complete():
    """Guards a cell of Table 6 that was forgotten."""
    expected = {
        f'{method}{isda}_cnn13_{data}-{labels}'
        for method, (sets, *_) in METHODS.items() for data in sets for labels in LABELS[data] for isda in ('', '_isda')
    }  # fmt: skip
    assert set(ids(CELLS)) == expected and len(CELLS) == 44


@pytest.mark.parametrize('path', [p for p in CELLS + DIGITS + OTHERS if '_isda_' in p.stem], ids=lambda p: p.stem)
def test_a_twin_differs_from_its_baseline_in_isda_only(path):
    """Guards the comparison: loss and eta_1, nothing else."""
    twin, base = (load(p).to_dict() for p in (path, path.with_name(path.name.replace('_isda_', '_'))))
    assert twin['model']['head'].pop('loss') == dict(type='ISDALoss', loss_weight=1.0, lambda_0=0.5, covariance='full')
    assert base['model']['head'].pop('loss') == dict(type='CrossEntropyLoss', loss_weight=1.0)
    if 'labeled-only' not in path.stem:
        assert twin['model']['semi_train_cfg'].pop('eta_1') == 1.0
    assert twin == base


@pytest.mark.parametrize('path', CELLS, ids=ids(CELLS))
def test_recipes_are_the_papers(path):
    """Guards Appendix B and the published weights of each method, see docs/semi-supervised.md."""
    cfg = load(path)
    method, _, cell = path.stem.replace('_isda', '').partition('_cnn13_')
    data, labels = cell.rsplit('-', 1)
    _, weights, usual, ramp = METHODS[method]
    settings = cfg.model.semi_train_cfg
    found = settings.get('rampup', {})
    assert settings.eta_2 == weights.get(data, usual)
    assert (found.get('begin', 0), found.get('end', 0), found.get('by_epoch', True)) == ramp
    images = cfg.train_dataloader.dataset
    assert images.num_labeled == int(labels) and f'/{data}_' in images.split_file
    assert cfg.model.head.num_classes == (100 if data == 'cifar100' else 10)
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.sampler.batch_size) == (256, 256)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay, optimizer.nesterov) == (0.1, 0.9, 1e-4, True)
    (schedule,) = cfg.param_scheduler
    assert (schedule.type, schedule.T_max, schedule.eta_min) == ('CosineAnnealingLR', 400, 0)
    assert cfg.train_cfg.max_epochs == 400 and cfg.default_hooks.last_epochs.num_epochs == 10
    assert ('mean_teacher' in cfg.default_hooks) == (method == 'mean-teacher')
    if method == 'vat':
        assert cfg.model.method.eps == (3.5 if data == 'svhn' else 8.0)
    assert (images.dataset.type == 'ZCADataset') == (data != 'svhn')


@pytest.mark.parametrize('path', [p for p in CELLS if '_isda' not in p.stem], ids=lambda p: p.stem)
def test_views_are_those_that_the_method_needs(path):
    """Guards shared flips, translations of two pixels, and no flip for house numbers."""
    init_default_scope('mmpretrain')
    images = load(path).train_dataloader.dataset
    flips = 0
    for pipeline in (images.sup_pipeline, images.unsup_pipeline):
        branch = TRANSFORMS.build(pipeline[-1])
        assert isinstance(branch, MultiBranch)
        names = [step['type'] for step in pipeline] + [
            type(t).__name__ for p in branch.branch_pipelines.values() for t in p.transforms
        ]
        flips += names.count('RandomFlip')
        assert all(
            t.padding == 2 for p in branch.branch_pipelines.values() for t in p.transforms if hasattr(t, 'padding')
        )
    method, data = path.stem.partition('_')[0], path.stem.rpartition('_')[2].rsplit('-', 1)[0]
    assert flips == (0 if data == 'svhn' else 3 if method == 'mean-teacher' else 2)
    assert set(branch.branch_pipelines) == {
        'unsup_student',
        *(['unsup_teacher'] if method in ('pi', 'mean-teacher') else []),
    }


@pytest.mark.parametrize(('num_classes', 'expected'), [(10, 3.122), (100, 3.133)])
def test_cnn_13_has_the_papers_size(num_classes, expected):
    """Guards Table 10: 6x6 maps before the pooling, 128 features, parameters."""
    init_default_scope('mmpretrain')
    cfg = load(REPO / 'configs' / 'semi' / 'vat_cnn13_cifar10-4000.py').model.copy()
    cfg.head.num_classes = num_classes
    network = MODELS.build(cfg)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(expected, abs=6e-4)
    (map_,) = network.backbone(torch.randn(2, 3, 32, 32))
    assert map_.shape == (2, 128, 6, 6) and network.logits(torch.randn(2, 3, 32, 32)).shape == (2, num_classes)
    convolutions = [m for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [128] * 3 + [256] * 3 + [512, 256, 128]
    assert [m.kernel_size[0] for m in convolutions] == [3] * 7 + [1] * 2


@pytest.mark.parametrize('path', DIGITS + OTHERS, ids=ids(DIGITS + OTHERS))
def test_small_configs_build(path):
    """Guards the demo before its first training."""
    init_default_scope('mmpretrain')
    cfg = load(path)
    network = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    assert sum(parameter.numel() for parameter in network.parameters()) < 100_000
