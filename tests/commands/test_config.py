"""``mmseg-isda config``: the shipped configs, where their settings come from, and copies that are ready to edit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_isda.commands import config
from mmseg_isda.commands.cli import main
from mmseg_isda.errors import ExistingPathError, MissingPathError, OptionError

NAME = 'camvid/pspnet_r18-d8_isda_cpu-1xb4-600it_camvid-180x240'


def test_list_names_every_config_and_no_base(capsys):
    assert main(['config', 'list']) == 0
    names = capsys.readouterr().out.split()
    files = {path for path in config.shipped_folder().rglob('*.py') if '_base_' not in path.parts}
    assert len(names) == len(files) > 50 and NAME in names
    main(['config', 'list', 'camvid', 'isda'])
    chosen = capsys.readouterr().out.split()
    assert NAME in chosen and all('camvid' in name and 'isda' in name for name in chosen) and len(chosen) < len(names)


def test_a_config_is_found_by_its_name_or_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = config.shipped_folder() / f'{NAME}.py'
    for name in (NAME, f'{NAME}.py', Path(NAME).name, file):
        assert config.find_config(name) == file
    (tmp_path / 'camvid').mkdir()
    (tmp_path / f'{NAME}.py').touch()
    assert config.find_config(f'{NAME}.py') == Path(f'{NAME}.py'), "the user's own file comes first"
    with pytest.raises(MissingPathError, match=f'did you mean {NAME}'):
        config.find_config(NAME[:-1])


def test_a_name_of_several_configs_is_refused(tmp_path, monkeypatch):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'same.py').touch()
    monkeypatch.setattr(config, 'shipped_folder', lambda: tmp_path)
    with pytest.raises(OptionError, match='a/same, b/same: name its folder too'):
        config.find_config('same')


def test_the_wheel_has_them_in_the_folder_of_mim(tmp_path, monkeypatch):
    monkeypatch.setattr(config, 'PACKAGE', tmp_path / 'mmseg_isda')
    assert config.shipped_folder() == tmp_path / 'configs'
    (tmp_path / 'mmseg_isda' / '.mim' / 'configs').mkdir(parents=True)
    assert config.shipped_folder() == tmp_path / 'mmseg_isda' / '.mim' / 'configs'


def test_show_says_where_each_value_comes_from(capsys):
    assert main(['config', 'show', NAME, '--cfg-options', 'optim_wrapper.optimizer.lr=0.5']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"model.decode_head.loss_decode.type = 'ISDASegLoss'  # {NAME}.py" in lines
    assert "default_hooks.isda.type = 'ISDAHook'  # _base_/default_runtime.py" in lines
    assert 'optim_wrapper.optimizer.lr = 0.5  # --cfg-options' in lines
    assert any(line.startswith('train_dataloader.dataset.pipeline.0.type = ') for line in lines)
    assert len({line.partition(' = ')[0] for line in lines}) == len(lines)


def test_show_as_python_is_a_config(capsys, tmp_path):
    assert main(['config', 'show', NAME, '--python']) == 0
    (tmp_path / 'flat.py').write_text(capsys.readouterr().out)
    original = Config.fromfile(config.find_config(NAME)).to_dict()
    assert Config.fromfile(tmp_path / 'flat.py').to_dict() == original


def test_a_copy_has_its_bases_and_nothing_else(capsys, tmp_path):
    """It must read the same; a second copy beside it takes the bases that are there."""
    assert main(['config', 'copy', NAME, str(tmp_path / 'mine')]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split()]
    assert written[0] == tmp_path / 'mine' / f'{NAME}.py' and set(written) == set((tmp_path / 'mine').rglob('*.py'))
    assert len(written) < 12
    original = Config.fromfile(config.find_config(NAME))
    assert Config.fromfile(written[0]).to_dict() == original.to_dict()
    config.copy_config(NAME.replace('_isda', ''), tmp_path / 'mine')


@pytest.mark.parametrize('share', ['1-4', '1-8'])
def test_a_copy_has_the_lists_of_images_that_it_names(share, tmp_path):
    """Guards a semi-supervised config that would look for its splits where nobody has put them."""
    name = f'camvid/semi/pspnet_r18-d8_mean-teacher_{share}_8k_camvid-360x480'
    first, *others = config.copy_config(name, tmp_path)
    lists = {f'{share}_seed-0_{part}.txt' for part in ('labeled', 'unlabeled')}
    assert {path.name for path in others if path.suffix == '.txt'} == lists
    for dataset in Config.fromfile(first).train_dataloader.dataset.datasets:
        path = Path(dataset.ann_file)
        assert path.is_relative_to(tmp_path) and path.read_text().split()


def test_a_copy_replaces_no_file_that_was_edited(tmp_path):
    first, *_ = config.copy_config(NAME, tmp_path)
    first.write_text('# mine\n')
    with pytest.raises(ExistingPathError, match='--force'):
        config.copy_config(NAME, tmp_path)
    assert first.read_text() == '# mine\n'
    config.copy_config(NAME, tmp_path, force=True)
    assert first.read_text() != '# mine\n'


def test_bases_of_another_package_are_left_to_the_host(tmp_path):
    (tmp_path / 'a.py').write_text("_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py']\n")
    assert list(config.base_files(tmp_path / 'a.py')) == [tmp_path / 'a.py']


def test_a_config_that_builds_on_itself_is_named(tmp_path):
    shutil.copy(config.find_config(NAME), tmp_path / 'a.py')
    (tmp_path / 'a.py').write_text("_base_ = './b.py'\n")
    (tmp_path / 'b.py').write_text("_base_ = './a.py'\n")
    with pytest.raises(OptionError, match=r'a\.py builds on itself'):
        list(config.base_files(tmp_path / 'a.py'))
