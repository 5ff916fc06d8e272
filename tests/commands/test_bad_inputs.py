"""Mistakes of users: each ends in one line and exit status 2, and touches no file that was there before."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model

from mmseg_isda.commands.cli import main
from tests.tiny import tiny_settings, write_config, write_dataset

HEAD = 'model.decode_head'
LOSS = f'{HEAD}.loss_decode'
ISDA = [f'{LOSS}.type=ISDASegLoss', 'model.auxiliary_head=None']
DATA = 'train_dataloader.dataset'


class Code:
    def __reduce__(self):
        return open, ('ran', 'w')


CONFIGS = {
    'empty.py': '',
    'syntax.py': 'model = dict(\n',
    'indent.py': 'a = 1\n\t b = 2\n',
    'self.py': "_base_ = 'self.py'\n",
    'cycle_a.py': "_base_ = './cycle_b.py'\n",
    'cycle_b.py': "_base_ = ['./cycle_a.py']\n",
    'orphan.py': "_base_ = '../nowhere/base.py'\n",
    'base_folder.py': "_base_ = '.'\n",
    'division.py': 'a = 1\nb = a / 0\n',
    'name.py': 'model = dict(type=Unheard)\n',
    'missing_import.py': 'from nowhere_at_all import thing\n',
    'missing_plugin.py': "custom_imports = dict(imports=['nowhere_at_all'], allow_failed_imports=False)\n",
    'twice.py': "_base_ = ['tiny.py', 'again.py']\n",
    'again.py': "_base_ = 'tiny.py'\n",
    'notes.txt': 'model\n',
    'broken.json': '{"model": ',
    'list.json': '[1, 2]',
    'broken.yaml': 'a: [1\nb: {',
    'text_model.py': "_base_ = 'tiny.py'\nmodel = 'PSPNet'\n",
    'binary_base.py': "_base_ = 'binary.py'\n",
    'variable.py': "_base_ = 'tiny.py'\nbatch = 2\ntrain_dataloader = dict(batch_size=batch)\n",
    'no_tta.py': "_base_ = 'tiny.py'\ntta_pipeline = None\n",
    'no_visualizer.py': "_base_ = 'tiny.py'\nvisualizer = None\n",
    'accuracy.py': "_base_ = 'tiny.py'\ntest_evaluator = dict(_delete_=True, type='Accuracy')\n",
    'scheduler.py': "_base_ = 'tiny.py'\nparam_scheduler = [dict(type='PolyLr')]\n",
    'untested.py': "_base_ = 'tiny.py'\ntest_dataloader = None\n",
    'digits.py': "default_scope = 'mmpretrain'\nmodel = dict(type='ImageClassifier')\n",
}


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """A folder of a user: configs, data, checkpoints. No test changes it."""
    folder = tmp_path_factory.mktemp('project')
    write_dataset(folder / 'data')
    settings = tiny_settings(folder / 'data')
    settings['randomness'] = dict(seed=0)
    write_config(folder / 'tiny.py', settings)
    for name, text in CONFIGS.items():
        (folder / name).write_text(text)
    (folder / 'binary.py').write_bytes(bytes(range(256)))
    (folder / 'null.py').write_bytes(b'a = 1\x00')
    weights = init_model(Config(settings), device='cpu').state_dict()
    torch.save({'state_dict': weights, 'meta': {}}, folder / 'weights.pth')
    torch.save({'state_dict': {'a.b': torch.ones(3)}, 'meta': {}}, folder / 'other.pth')
    torch.save({'state_dict': Code()}, folder / 'code.pth')
    (folder / 'weights.pkl').write_bytes(pickle.dumps(Code()))
    (folder / 'text.pth').write_text('not a checkpoint')
    (folder / 'empty.pth').touch()
    (folder / 'cut.pth').write_bytes((folder / 'weights.pth').read_bytes()[:300])
    (folder / 'results').mkdir()
    (folder / 'results' / 'scores.json').write_text('{}')
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def refused(project, tmp_path, monkeypatch, capfd):
    """Run a command and check that it ends as a mistake does."""
    before = contents(project)
    monkeypatch.chdir(project)
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)

    def run(words: list[str], message: str) -> None:
        words = [word.replace('TMP', str(tmp_path)) for word in words]
        try:
            status = main(words)
        except SystemExit as error:  # of argparse
            status = error.code
        errors = [line for line in capfd.readouterr().err.splitlines() if 'error: ' in line]
        assert status == 2 and len(errors) == 1, errors
        assert re.search(message, errors[0]), errors[0]
        assert {path: content for path, content in contents(project).items() if path in before} == before

    return run


def train(*words: str, config: str = 'tiny.py') -> list[str]:
    return ['train', config, '--work-dir', 'TMP/work', *words]


def options(*words: str) -> list[str]:
    return train('--cfg-options', *words)


def isda(*words: str) -> list[str]:
    return options(*ISDA, *words)


def score(*words: str, config: str = 'tiny.py', checkpoint: str = 'weights.pth') -> list[str]:
    return ['test', config, checkpoint, '--work-dir', 'TMP/work', *words]


CASES = {
    # configs
    'config missing': (train(config='tinny.py'), r'tinny\.py does not exist; did you mean .*tiny\.py'),
    'config unheard': (train(config='unheard_of_123'), 'config list'),
    'config in no folder': (train(config='nowhere/x.py'), 'does not exist'),
    'config folder': (train(config='data'), 'is a folder'),
    'config empty': (train(config='empty.py'), 'has no model, train_dataloader'),
    'config syntax': (train(config='syntax.py'), r'syntax\.py, line 1'),
    'config indentation': (train(config='indent.py'), r'indent\.py, line 2'),
    'config binary': (train(config='binary.py'), r'binary\.py is no text of Python'),
    'config null bytes': (train(config='null.py'), r'null\.py'),
    'config of itself': (train(config='self.py'), r'self\.py builds on itself'),
    'config cycle': (train(config='cycle_a.py'), r'cycle_a\.py builds on itself'),
    'config orphan': (train(config='orphan.py'), r'orphan\.py builds on a file that is not there.*base\.py'),
    'config on a folder': (train(config='base_folder.py'), 'builds on a file that is not there'),
    'config division': (train(config='division.py'), r'division\.py, line 2 cannot be read: ZeroDivisionError'),
    'config name': (train(config='name.py'), 'line 1 cannot be read: NameError.*Unheard'),
    'config import': (train(config='missing_import.py'), 'nowhere_at_all|has no model'),
    'config plugin': (train(config='missing_plugin.py'), 'nowhere_at_all'),
    'config bases clash': (train(config='twice.py'), 'Duplicate key'),
    'config text': (train(config='notes.txt'), 'Only py/yml/yaml/json'),
    'config broken json': (train(config='broken.json'), r'broken\.json cannot be read: JSONDecodeError'),
    'config list json': (train(config='list.json'), r'list\.json cannot be read'),
    'config broken yaml': (train(config='broken.yaml'), r'broken\.yaml cannot be read'),
    'config binary base': (train(config='binary_base.py'), r'binary\.py is no text'),
    'config model is text': (train(config='text_model.py'), 'has no model'),
    # options
    'option without value': (options('novalue'), 'novalue: expected KEY=VALUE'),
    'option without key': (options('=5'), 'expected KEY=VALUE'),
    'option ends in a dot': (options('model.=5'), 'expected KEY=VALUE'),
    'option of two dots': (options('model..type=5'), 'expected KEY=VALUE'),
    'option brackets': (options('train_dataloader.batch_size=[1'), 'brackets'),
    'option root misspelt': (options('optim_wraper.optimizer.lr=1'), r'did you mean optim_wrapper\?'),
    'option nested misspelt': (options('model.decode_haed.channels=1'), r'did you mean model\.decode_head\?'),
    'option index': (options(f'{DATA}.pipeline.9.type=A'), 'is a list of 4'),
    'option word in list': (options(f'{DATA}.pipeline.first.type=A'), 'must be 0 to 3'),
    'option below a value': (options('model.decode_head.channels.x=1'), 'is the value 8'),
    'option nobody reads': (options('lr=0.1'), 'no runner reads'),
    'option variable': (train('--cfg-options', 'batch=4', config='variable.py'), r'train_dataloader\.batch_size'),
    'option of no loss': (options('lambda_0=1'), 'no ISDA loss'),
    'option of the loss misspelt': (options('lamda_0=1'), 'did you mean lambda_0'),
    'option empties the model': (options('model=None'), 'has no model'),
    # types
    'type of model': (
        options('model.type=EncoderDecoderr'),
        r"model\.type: .*'EncoderDecoderr'; did you",
    ),
    'type of backbone': (options('model.backbone.type=ResNetV1x'), r'model\.backbone\.type: .*did you mean'),
    'type of head': (options(f'{HEAD}.type=PSPHed'), 'did you mean PSPHead'),
    'type of loss': (options(f'{LOSS}.type=ISDASegLos'), r'loss_decode\.type: .*did you mean ISDASegLoss'),
    'type of norm': (options(f'{HEAD}.norm_cfg.type=BNN'), r'norm_cfg\.type: .*BNN'),
    'type of preprocessor': (options('model.data_preprocessor.type=Seg'), r'data_preprocessor\.type: '),
    'type of data set': (options(f'{DATA}.type=BaseSegDatset'), 'did you mean BaseSegDataset'),
    'type of transform': (
        options(f'{DATA}.pipeline.2.type=RandomCropp'),
        r'pipeline\.2\.type: .*you mean RandomCrop',
    ),
    'type of sampler': (options('train_dataloader.sampler.type=Infinite'), r'sampler\.type: '),
    'type of optimizer': (options('optim_wrapper.optimizer.type=SDG'), r'optimizer\.type: .*did you mean .*SGD'),
    'type of wrapper': (options('optim_wrapper.type=OptimWraper'), 'did you mean OptimWrapper'),
    'type of loop': (options('train_cfg.type=IterLoop'), r'train_cfg\.type: '),
    'type of hook': (options('default_hooks.checkpoint.type=CheckpontHook'), 'did you mean CheckpointHook'),
    'type of visualizer': (options('visualizer.type=SegLocalVisualiser'), 'did you mean SegLocalVisualizer'),
    'type of another toolkit': (options('default_scope=mmfoo'), "default_scope is 'mmfoo'"),
    'type of scheduler': (train(config='scheduler.py'), r'param_scheduler\.0\.type: .*did you mean PolyLR'),
    'scheduler is text': (options('param_scheduler=[PolyLR]'), 'param_scheduler'),
    # settings that a class does not have
    'setting of backbone': (options('model.backbone.dept=18'), "unexpected keyword argument 'dept'"),
    'setting of head': (options('model.decode_head.chanels=8'), 'chanels'),
    'setting of optimizer': (options('optim_wrapper.optimizer.learning=1'), 'learning'),
    'setting of data set': (options(f'{DATA}.rot=x'), 'rot'),
    'setting of transform': (options(f'{DATA}.pipeline.2.crop=1'), 'crop'),
    'setting of hook': (options('default_hooks.checkpoint.by_epochs=False'), 'by_epochs|did you mean'),
    'depth that is none': (options('model.backbone.depth=19'), '19'),
    # options of ISDA
    'isda unknown option': (isda(f'{LOSS}.lamda_0=1'), "no option 'lamda_0'.*did you mean 'lambda_0'"),
    'isda lambda below 0': (isda('lambda_0=-1'), r'lambda_0 must lie in .*got -1'),
    'isda lambda infinite': (isda('lambda_0=inf'), 'got inf'),
    'isda lambda nan': (isda('lambda_0=nan'), 'got nan'),
    'isda lambda huge': (isda('lambda_0=1e300'), '1e.?300'),
    'isda lambda is text': (isda('lambda_0=big'), 'big|str'),
    'isda covariance': (isda('covariance=diag'), "got 'diag'"),
    'isda schedule': (isda('schedule=epochs'), "got 'epochs'"),
    'isda schedule by epoch': (isda('schedule=epoch'), 'more than one epoch'),
    'isda placement': (isda(f'{LOSS}.augment_at=pixel'), "got 'pixel'"),
    'isda rank': (isda('covariance=low_rank', 'rank=0'), 'rank must be at least 1, got 0'),
    'isda rank too large': (isda('covariance=low_rank', 'rank=-3'), 'got -3'),
    'isda reduction': (isda(f'{LOSS}.reduction=average'), 'average'),
    'isda smoothing': (isda(f'{LOSS}.label_smoothing=2'), 'label_smoothing'),
    'isda classifier': (isda('classifier=nope'), "no module above .* classifier named 'nope'"),
    'isda classifier of 3x3': (isda('classifier=bottleneck.conv'), '1x1'),
    'isda sigmoid': (isda(f'{LOSS}.use_sigmoid=True'), 'sigmoid'),
    'isda binary head': (
        isda('model.decode_head.out_channels=1', 'model.decode_head.num_classes=2'),
        'single output|binary',
    ),
    'isda weights missing': (isda(f'{LOSS}.class_weight=gone.npy'), r'gone\.npy'),
    'isda weights pickled': (isda(f'{LOSS}.class_weight=weights.pkl'), r'weights\.pkl'),
    'isda weights of two classes': (
        isda(f'{LOSS}.class_weight=[1,2]'),
        'class_weight has 2 values, but the head has num_classes=4',
    ),
    # numbers
    'no iterations': (options('train_cfg.max_iters=0'), r'train_cfg\.max_iters must be .*got 0'),
    'negative iterations': (options('train_cfg.max_iters=-5'), 'got -5'),
    'half an iteration': (options('train_cfg.max_iters=1.5'), r'got 1\.5'),
    'iterations as text': (options('train_cfg.max_iters=many'), "got 'many'"),
    'no interval': (options('train_cfg.val_interval=0'), 'val_interval'),
    'no batch': (options('train_dataloader.batch_size=0'), 'batch_size'),
    'negative batch': (options('train_dataloader.batch_size=-2'), 'batch_size'),
    'negative workers': (options('train_dataloader.num_workers=-1'), 'num_workers'),
    'checkpoints as text': (options('default_hooks.checkpoint.interval=x'), "checkpoint.interval must be .*got 'x'"),
    'checkpoints kept': (options('default_hooks.checkpoint.max_keep_ckpts=-3'), 'max_keep_ckpts must be .*got -3'),
    'no log': (options('default_hooks.logger.interval=0'), r'logger\.interval must be .*got 0'),
    'no accumulation': (options('optim_wrapper.accumulative_counts=0'), 'accumulative_counts'),
    'negative seed': (train('--seed', '-1'), r'seed must be .*got -1'),
    'seed too large': (train('--seed', '99999999999'), 'seed'),
    'seed as text': (train('--seed', 'x'), 'invalid int'),
    'seed of the config': (options('randomness.seed=-1'), 'seed'),
    'learning rate as text': (options('optim_wrapper.optimizer.lr=fast'), 'fast|str'),
    'learning rate infinite': (options('optim_wrapper.optimizer.lr=inf'), 'lr must be finite, got inf'),
    'data prefix': (options(f'{DATA}.data_prefix=5'), r'dataset\.data_prefix must name folders, got 5'),
    'negative learning rate': (options('optim_wrapper.optimizer.lr=-1'), '-1'),
    # places to write to
    'work dir is a file': (['train', 'tiny.py', '--work-dir', 'notes.txt'], r'notes\.txt cannot be written'),
    'work dir below a file': (['train', 'tiny.py', '--work-dir', 'notes.txt/x'], 'cannot be written'),
    'work dir unwritable': (['train', 'tiny.py', '--work-dir', '/proc/x'], '/proc/x cannot be written'),
    'record is a folder': (train('--record', 'results'), 'is a folder'),
    'record below a file': (train('--record', 'notes.txt/x.json'), 'cannot be written'),
    'record of somebody else': (train('--record', 'results/scores.json'), r'scores\.json exists'),
    # checkpoints
    'resume missing': (train('--resume', 'gone.pth'), r'gone\.pth does not exist'),
    'resume folder': (train('--resume', 'data'), 'is a folder'),
    'resume text': (train('--resume', 'text.pth'), 'is no checkpoint'),
    'resume empty': (train('--resume', 'empty.pth'), 'is empty'),
    'resume cut': (train('--resume', 'cut.pth'), 'cut short'),
    'resume code': (train('--resume', 'code.pth'), 'could run code'),
    'resume weights': (train('--resume', 'weights.pth'), 'cannot be resumed'),
    'resume beside load_from': (
        train('--resume', 'weights.pth', '--cfg-options', 'load_from=other.pth'),
        'name two checkpoints',
    ),
    'load missing': (options('load_from=gone.pth'), r'gone\.pth does not exist'),
    'load code': (options('load_from=code.pth'), 'could run code'),
    'load several': (options('load_from=[weights.pth,other.pth]'), 'load_from must name one file'),
    'load from a storage': (options('load_from=s3://bucket/a.pth'), r's3://bucket/a\.pth cannot be fetched'),
    'load another network': (options('load_from=other.pth'), 'another network'),
    'pretrained missing': (options('model.pretrained=gone.pth'), r'gone\.pth does not exist'),
    'pretrained code': (options('model.pretrained=code.pth'), 'could run code'),
    # processes
    'launcher alone': (train('--launcher', 'pytorch'), r'the environment lacks RANK.*dist_train\.sh'),
    'launcher unheard': (train('--launcher', 'ssh'), 'invalid choice'),
    'amp on the CPU': (train('--amp'), '--amp'),
    'hold-out of segmentation': (train('--hold-out', '3'), 'works with MMPretrain'),
    'no command': ([], 'required'),
    'unheard command': (['trian', 'tiny.py'], 'invalid choice'),
    'unheard argument': (train('--epochs', '3'), 'unrecognized arguments'),
    # data that is not there
    'data missing': (options(f'{DATA}.data_root=gone'), 'gone does not exist'),
    'data prefix missing': (options(f'{DATA}.data_prefix.img_path=gone'), 'gone does not exist'),
    'labels missing': (options(f'{DATA}.data_prefix.seg_map_path=gone'), 'gone does not exist'),
    'list missing': (options(f'{DATA}.ann_file=gone.txt'), r'gone\.txt does not exist'),
    'suffix of no image': (options(f'{DATA}.img_suffix=.tif'), '.'),
    # test
    'test checkpoint missing': (score(checkpoint='gone.pth'), r'gone\.pth does not exist'),
    'test checkpoint text': (score(checkpoint='text.pth'), 'is no checkpoint'),
    'test checkpoint code': (score(checkpoint='code.pth'), 'could run code'),
    'test checkpoint remote': (score(checkpoint='https://x.org/a.pth'), 'must be a local file'),
    'test another network': (score(checkpoint='other.pth'), 'another network'),
    'test without data': (score(config='untested.py'), 'has no test_dataloader'),
    'test json is a folder': (score('--json', 'results'), 'is a folder'),
    'test json exists': (score('--json', 'results/scores.json'), '--overwrite'),
    'test json below a file': (score('--json', 'notes.txt/a.json'), 'cannot be written'),
    'test json unwritable': (score('--json', '/proc/x/a.json'), 'cannot be written'),
    'test out exists': (score('--out', 'results'), 'already holds results'),
    'test out is a file': (score('--out', 'notes.txt'), r'notes\.txt'),
    'test out unwritable': (score('--out', '/proc/x'), 'cannot be written'),
    'test out without IoU': (score('--out', 'TMP/out', config='accuracy.py'), 'got Accuracy'),
    'test show is a file': (score('--show-dir', 'notes.txt', '--overwrite'), r'notes\.txt cannot be written'),
    'test show without visualizer': (score('--show-dir', 'TMP/show', config='no_visualizer.py'), 'visualizer'),
    'test tta without pipeline': (score('--tta', config='no_tta.py'), 'tta_pipeline'),
    'test two modes': (score('--tta', '--protocols'), 'not allowed with'),
    'test work dir is a file': (['test', 'tiny.py', 'weights.pth', '--work-dir', 'notes.txt'], 'cannot be written'),
    'test option misspelt': (score('--cfg-options', 'test_dataloadr.batch_size=1'), 'did you mean'),
    # publish, convert, config
    'publish missing': (['publish', 'gone.pth', 'TMP/a.pth'], r'gone\.pth does not exist'),
    'publish text': (['publish', 'text.pth', 'TMP/a.pth'], 'is no checkpoint'),
    'publish code': (['publish', 'code.pth', 'TMP/a.pth'], 'could run code'),
    'publish below a file': (['publish', 'weights.pth', 'notes.txt/a.pth'], 'cannot be written'),
    'publish unwritable': (['publish', 'weights.pth', '/proc/x/a.pth'], 'cannot be written'),
    'publish alone': (['publish'], 'required'),
    'convert missing': (['convert', 'gone.pth', 'TMP/a.pth'], r'gone\.pth does not exist'),
    'convert text': (['convert', 'text.pth', 'TMP/a.pth'], 'is no checkpoint'),
    'convert another network': (['convert', 'other.pth', 'TMP/a.pth'], '.'),
    'convert over a file': (['convert', 'other.pth', 'weights.pth'], '--force|exists|network'),
    'convert to no toolkit': (['convert', 'other.pth', 'TMP/a.pth', '--target', 'mmfoo'], 'invalid choice'),
    'show missing': (['config', 'show', 'unheard'], 'does not exist'),
    'show option misspelt': (['config', 'show', 'tiny.py', '--cfg-options', 'modle.type=A'], 'did you mean'),
    'copy missing': (['config', 'copy', 'unheard', 'TMP'], 'does not exist'),
    'copy of a file': (['config', 'copy', 'tiny.py', 'TMP'], 'takes a config that comes along'),
    'copy to a file': (['config', 'copy', 'resnet14_b64-30e_digits', 'notes.txt'], 'cannot be written'),
    'copy of two': (['config', 'copy', 'x', 'y', 'z'], 'unrecognized'),
    'config alone': (['config'], 'required'),
    # sweep and search; more in test_sweep.py
    'sweep without a folder': (['sweep', 'tiny.py'], '--work-dir'),
    'sweep into a file': (['sweep', 'tiny.py', '--work-dir', 'notes.txt'], 'cannot be written'),
    'sweep without validation': (['sweep', 'tiny.py', '--work-dir', 'TMP/s'], 'no val_dataloader'),
    'sweep of nothing': (['sweep', '--work-dir', 'TMP/s'], 'required'),
    'search of a plain config': (['search', 'tiny.py', '--work-dir', 'TMP/s'], 'no ISDA loss'),
    'search of words': (['search', 'tiny.py', '--work-dir', 'TMP/s', '--lambdas', 'x'], 'invalid float'),
    'search of infinity': (['search', 'tiny.py', '--work-dir', 'TMP/s', '--lambdas', 'inf'], 'got inf'),
}


@pytest.mark.parametrize('name', CASES)
def test_mistakes_end_in_one_line(refused, name):
    words, message = CASES[name]
    refused(words, message)


def test_the_list_is_long_enough():
    assert len(CASES) >= 150


# --- files of data ---------------------------------------------------------------------------------------------------


def png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array)[1].tobytes()


LABEL = np.zeros((48, 64), np.uint8)
FAULTS = {
    'label cut': ('ann', lambda old: old[: len(old) // 2], 'label .*0.png cannot be read'),
    'label empty': ('ann', lambda old: b'', 'label .*0.png cannot be read'),
    'label text': ('ann', lambda old: b'hello', 'label .*0.png cannot be read'),
    'label RGB': ('ann', lambda old: png(np.dstack([LABEL] * 3)), r'0\.png has 3 channels.*one-channel PNG'),
    'label out of range': ('ann', lambda old: png(LABEL + 77), r'0\.png has the value 77, but there are 4 classes'),
    'label of 16 bits': ('ann', lambda old: png(LABEL.astype(np.uint16) + 300), r'0\.png has the value 300'),
    'label of another size': ('ann', lambda old: png(LABEL[:, :60]), r'0\.png is 48x60, but its image 48x64'),
    'image empty': ('img', lambda old: b'', 'image .*0.png cannot be read'),
    'image text': ('img', lambda old: b'hello', 'image .*0.png cannot be read'),
}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('name', FAULTS)
def test_faults_of_data_name_the_file(refused, project, tmp_path, name, workers):
    """In this process and in that of a data loader, whose errors come with a traceback inside."""
    if workers and name not in ('label cut', 'label RGB'):
        pytest.skip('the way out of a process is the same for all')
    kind, change, message = FAULTS[name]
    shutil.copytree(project / 'data', tmp_path / 'data')
    file = tmp_path / 'data' / kind / 'train' / '0.png'
    file.write_bytes(change(file.read_bytes()))
    for other in (1, 2, 3):
        for part in ('img', 'ann'):
            (tmp_path / 'data' / part / 'train' / f'{other}.png').unlink()
    refused(options(f'{DATA}.data_root=TMP/data', f'train_dataloader.num_workers={workers}', *ISDA), message)


def test_a_bad_label_of_the_validation_is_found_in_a_test(refused, project, tmp_path):
    """The metric drops such pixels in silence."""
    shutil.copytree(project / 'data', tmp_path / 'data')
    (tmp_path / 'data' / 'ann' / 'val' / '1.png').write_bytes(png(LABEL + 77))
    words = ['--cfg-options', 'test_dataloader.dataset.data_root=TMP/data']
    refused(score(*words), r'val/1\.png has the value 77')
