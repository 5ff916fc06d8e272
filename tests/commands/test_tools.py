"""The commands as a user types them: train, resume on two processes, score, publish, load elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model

from tests.tiny import CLASSES, tiny_settings, write_config, write_dataset

ROOT = Path(__file__).parents[2]
ITERATIONS = 40
ISDA = ('model.decode_head.loss_decode.type=ISDASegLoss', 'model.auxiliary_head.loss_decode.type=ISDASegLoss')


def command(*words: object, folder: Path) -> subprocess.CompletedProcess:
    """Runs a command in an empty folder, without a GPU, on one thread."""
    env = os.environ | dict(
        PYTHONPATH=str(ROOT), PYTHON=sys.executable, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', PORT=''
    )
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        env.pop(name, None)
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    return done


def successful(*words: object, folder: Path) -> str:
    done = command(*words, folder=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('project')
    write_dataset(folder / 'data')
    write_config(folder / 'tiny.py', tiny_settings(folder / 'data', iterations=ITERATIONS))
    return folder


@pytest.fixture(scope='module')
def trained(folder) -> Path:
    """Checkpoint of a run whose config names an ISDA loss, SyncBN and no hook."""
    log = successful(
        sys.executable, ROOT / 'tools/train.py', 'tiny.py', '--work-dir', 'work', '--seed', 1, '--cfg-options', *ISDA,
        folder=folder,
    )  # fmt: skip
    assert "dict(type='ISDAHook') was added" in log
    assert 'SyncBN was replaced by BN' in log and 'isda_shift' in log
    return folder / 'work' / f'iter_{ITERATIONS}.pth'


def _counts(path: Path) -> torch.Tensor:
    from mmseg_isda.checkpoints.reading import read_checkpoint

    return read_checkpoint(path)['state_dict']['decode_head.loss_decode.statistics.count']


@pytest.mark.slow
def test_resume_on_two_processes(trained, folder):
    """--resume on a CPU: torch.load must take MMEngine's logs, gloo must replace nccl, statistics must go on."""
    log = successful(
        ROOT / 'tools/dist_train.sh', 'tiny.py', 2, '--work-dir', 'work', '--resume', '--cfg-options', *ISDA,
        f'train_cfg.max_iters={ITERATIONS + 2}', f'default_hooks.checkpoint.interval={ITERATIONS + 2}',
        folder=folder,
    )  # fmt: skip
    assert "backend was set to 'gloo'" in log and f'resumed epoch: 0, iter: {ITERATIONS}' in log
    before, after = _counts(trained), _counts(folder / 'work' / f'iter_{ITERATIONS + 2}.pth')
    # Two iterations of two images on each of two processes; a feature is one of 4x4 in a crop of 32.
    assert 0 < (after - before).sum() <= 2 * 2 * 2 * 16


@pytest.mark.slow
def test_protocols_on_one_and_two_processes(trained, folder):
    """Three images on two processes are padded to four: the fourth must not be scored twice.

    Guards the config of the training as well, which a test in its work dir replaced by its own.
    """
    config = (folder / 'work' / 'tiny.py').read_text()
    one = successful(
        sys.executable, ROOT / 'tools/test.py', 'tiny.py', trained, '--protocols', '--json', 'one.json',
        '--out', 'labels', '--work-dir', 'work', '--cfg-options', *ISDA, folder=folder,
    )  # fmt: skip
    assert (folder / 'work' / 'tiny.py').read_text() == config
    successful(
        ROOT / 'tools/dist_test.sh', 'tiny.py', trained, 2, '--protocols', '--json', 'two.json', '--cfg-options', *ISDA,
        folder=folder,
    )  # fmt: skip
    scores = json.loads((folder / 'one.json').read_text())
    assert scores == json.loads((folder / 'two.json').read_text())
    assert list(scores['protocols']) == ['single_scale', 'multi_scale', 'multi_scale_flip']
    assert (scores['config'], scores['images'], scores['dataset']) == ('tiny.py', 3, 'BaseSegDataset')
    single = scores['protocols']['single_scale']
    assert list(single['IoU']) == list(CLASSES) and single['mIoU'] > 40, 'it has not learnt'
    assert f'{single["mIoU"]:.2f}' in one and 'Multi-scale + flip' in one
    assert len(list((folder / 'labels').rglob('*.png'))) == 9


def _load(cfg: Config, checkpoint: str | None) -> tuple[torch.nn.Module, set[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model = init_model(Config(cfg.to_dict()), checkpoint, device='cpu')
    return model, {str(warning.message) for warning in caught}


def test_published_model_loads_in_plain_mmsegmentation(trained, folder):
    """The same config with CrossEntropyLoss, no allow-list, no warning, and the predictions of the original."""
    log = successful(sys.executable, ROOT / 'tools/publish_model.py', trained, 'public/psp.pth', folder=folder)
    (published,) = (folder / 'public').iterdir()
    assert published.name in log
    cfg = Config(tiny_settings(folder / 'data'))
    cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    torch.serialization.clear_safe_globals()
    _, always = _load(cfg, None)
    model, messages = _load(cfg, str(published))
    assert messages <= always, 'loading adds a warning'
    assert model.dataset_meta['classes'] == CLASSES
    isda = Config(tiny_settings(folder / 'data'))
    isda.model.decode_head.loss_decode.type = isda.model.auxiliary_head.loss_decode.type = 'ISDASegLoss'
    isda.test_pipeline = cfg.test_pipeline
    from mmseg_isda.checkpoints.reading import allow_checkpoint_classes

    allow_checkpoint_classes()
    original = init_model(isda, str(trained), device='cpu')
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    logits = [inference_model(m, image).seg_logits.data for m in (model, original)]
    assert torch.equal(*logits)


def test_loading_reports_no_unexpected_key(trained, folder, capfd):
    """MMEngine prints unexpected keys instead of warning: a published file must have none, even for plain models."""
    from mmseg_isda.checkpoints.publishing import publish_checkpoint

    published = publish_checkpoint(trained, folder / 'quiet' / 'psp.pth')
    cfg = Config(tiny_settings(folder / 'data'))
    capfd.readouterr()
    init_model(cfg, str(published.path), device='cpu')
    output = ''.join(capfd.readouterr())
    assert 'unexpected key' not in output and 'missing key' not in output and 'size mismatch' not in output
    init_model(cfg, str(trained), device='cpu')
    assert 'unexpected key' in ''.join(capfd.readouterr()), 'the check must be able to fail'


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_shell_scripts_say_how_they_are_used(script, tmp_path):
    done = command(ROOT / 'tools' / script, folder=tmp_path)
    assert done.returncode == 2 and 'CONFIG' in done.stderr
    assert os.access(ROOT / 'tools' / script, os.X_OK)


def test_slurm_script_asks_for_its_gpus(tmp_path):
    """Two GPUs on one node must not ask for four a node."""
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    env = os.environ | dict(PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='2', SRUN_ARGS='--time=1 --mem=2G')
    for name in ('GPUS_PER_NODE', 'CPUS_PER_TASK'):
        env.pop(name, None)
    words = [ROOT / 'tools/slurm_train.sh', 'part', 'job', 'c.py', '--seed', '1']
    asked = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {'--partition=part', '--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '--time=1', '--mem=2G'} <= set(
        asked
    )
    assert asked[-5:] == ['c.py', '--launcher', 'slurm', '--seed', '1']


def test_mistake_ends_with_status_2_and_one_line(folder):
    done = command(
        sys.executable,
        ROOT / 'tools/train.py',
        'tiny.py',
        '--cfg-options',
        'optim_wraper.optimizer.lr=1',
        folder=folder,
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith('error: --cfg-options optim_wraper.optimizer.lr')
