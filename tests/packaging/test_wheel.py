"""The wheel, built from the sources and installed in an environment of its own outside the repository."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
# The last is set in a process that guards its reads of checkpoints, such as one of other tests.
UNWANTED = ('PYTHONPATH', 'VIRTUAL_ENV', 'TORCH_FORCE_WEIGHTS_ONLY_LOAD')
NAME = 'pspnet_r18-d8_isda_cpu-1xb4-600it_camvid-180x240'
OPTIONS = (
    'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2',
    'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=False',
)  # fmt: skip


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, as setuptools leaves files of earlier builds in the wheel."""
    root = tmp_path_factory.mktemp('build')
    for name in ('mmseg_isda', 'configs', 'tools', 'demo', 'tests'):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE'):
        shutil.copy(REPO / name, root)
    isolated = [] if int(version('setuptools').split('.')[0]) < 77 else ['--no-build-isolation']
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', *isolated, '-w', root / 'dist', root]
    subprocess.run(command, cwd=root, check=True)
    return next((root / 'dist').glob('mmseg_isda-*.whl'))


@pytest.fixture(scope='module')
def environment(wheel, tmp_path_factory) -> Path:
    """Folder of programs of a fresh environment; what else is installed here it finds through a .pth file."""
    root = tmp_path_factory.mktemp('environment')
    venv.create(root, with_pip=False, symlinks=True)
    programs = root / 'bin'
    pip = [sys.executable, '-m', 'pip', '--python', str(programs / 'python'), 'install', '--quiet']
    subprocess.run([*pip, '--no-deps', '--no-index', str(wheel)], check=True)
    (packages,) = root.glob('lib/python*/site-packages')
    (packages / 'outside.pth').write_text('\n'.join(site.getsitepackages()))
    return programs


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment outside the repository, which its path does not hold."""

    def run(*command: str | Path) -> str:
        env = {key: value for key, value in os.environ.items() if key not in UNWANTED}
        program, *arguments = map(str, command)
        done = subprocess.run(
            [environment / program, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def test_the_wheel_holds_the_method_its_configs_and_its_tools(wheel):
    """Guards configs that were forgotten, and a demo or tests that came along."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
    assert {name.partition('/')[0] for name in names} == {'mmseg_isda'}
    for folder in ('configs', 'tools'):
        shipped = {
            name.removeprefix('mmseg_isda/.mim/') for name in names if name.startswith(f'mmseg_isda/.mim/{folder}/')
        }
        files = (REPO / folder).rglob('*')
        assert shipped == {path.relative_to(REPO).as_posix() for path in files if path.suffix in ('.py', '.sh', '.txt')}
    assert 'mmseg_isda/py.typed' in names and 'mmseg_isda/core/criterion.py' in names


def test_a_copied_config_trains_by_our_command_and_by_the_host_s(run, environment, tmp_path):
    """Guards the way of those who only have the wheel: list, copy, train, with files that are found without a clone."""
    cv2, np = pytest.importorskip('cv2'), pytest.importorskip('numpy')
    mmseg = pytest.importorskip('mmseg')
    random = np.random.default_rng(0)
    for folder in ('train', 'trainannot', 'val', 'valannot'):
        (tmp_path / 'data/camvid' / folder).mkdir(parents=True)
        for index in range(2):
            size = (360, 480) if 'annot' in folder else (360, 480, 3)
            cv2.imwrite(str(tmp_path / 'data/camvid' / folder / f'{index}.png'), random.integers(0, 11, size, np.uint8))
    assert str(environment.parent) in run('python', '-c', 'import mmseg_isda; print(mmseg_isda.__file__)')
    assert f'camvid/{NAME}' in run('mmseg-isda', 'config', 'list').split()
    config = run('mmseg-isda', 'config', 'copy', NAME, 'mine').splitlines()[0]
    host = Path(mmseg.__file__).parent / '.mim/tools/train.py'
    for number, command in enumerate([('mmseg-isda', 'train'), ('python', host)]):
        run(*command, config, '--work-dir', f'work_{number}', '--cfg-options', *OPTIONS)
        checkpoint = tmp_path / f'work_{number}/iter_2.pth'
        code = (
            f"import torch; state = torch.load({str(checkpoint)!r}, weights_only=False)['state_dict']; "
            "print(int(state['decode_head.loss_decode.statistics.count'].sum()))"
        )
        assert int(run('python', '-c', code)) > 0
