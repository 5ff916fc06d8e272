"""The tool that draws splits before any training."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')
pytest.importorskip('sklearn')

from mmseg_isda.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ROOT / 'configs' / 'camvid' / 'semi' / 'splits'
DATA = "_base_ = '{}/configs/_base_/datasets/semi_digits.py'\n"


@pytest.fixture
def draw(monkeypatch, capsys):
    """Call the tool and return the paths that it prints."""
    spec = importlib.util.spec_from_file_location('make_split', ROOT / 'tools' / 'make_split.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run(*words):
        monkeypatch.setattr(sys, 'argv', ['make_split.py', *map(str, words)])
        tool.main()
        return [
            line for line in capsys.readouterr().out.splitlines() if line.startswith('/')
        ]  # the hosts print as well

    return run


def test_a_config_gets_a_file_for_each_seed(draw, tmp_path):
    """Guards what the training then reads: the number of labels of the config, the seed of the name."""
    config = tmp_path / 'config.py'
    base = DATA.format(ROOT)
    config.write_text(f"{base}train_dataloader = dict(dataset=dict(split_file='{tmp_path}/{{seed}}.json'))")
    assert draw(config, '--seeds', 0, 3) == [f'{tmp_path}/0.json', f'{tmp_path}/3.json']
    first, other = (json.loads((tmp_path / f'{seed}.json').read_text()) for seed in (0, 3))
    assert other['seed'] == 3 and len(other['labeled']) == 50 and other['labeled'] != first['labeled']
    config.write_text(base)
    with pytest.raises(OptionError, match='must be a SemiSupervisedDataset with a split_file, got'):
        draw(config)


def test_a_folder_gets_lists_of_names(draw, tmp_path):
    """Guards the splits of segmentation: disjoint, complete, and for seed 0 those that come along."""
    committed = [(SPLITS / f'1-4_seed-0_{part}.txt').read_text().split() for part in ('labeled', 'unlabeled')]
    names = sorted(committed[0] + committed[1])
    (tmp_path / 'images').mkdir()
    for name in names:
        (tmp_path / 'images' / f'{name}.png').touch()
    options = (tmp_path / 'images', '--share', 0.25, '--out', tmp_path / 'lists' / 'quarter')
    paths = [Path(path) for path in draw(*options, '--seeds', 1, 2)]
    assert [path.name for path in paths][:2] == ['quarter_seed-1_labeled.txt', 'quarter_seed-1_unlabeled.txt']
    labeled, unlabeled, other, _ = (path.read_text().split() for path in paths)
    assert len(labeled) == 92 and sorted(labeled + unlabeled) == names and labeled != other
    assert [Path(path).read_text().split() for path in draw(*options)] == committed


@pytest.mark.parametrize('words', [('--share', 0.5), ('--share', 0, '--out', 'x'), ('--share', 'nan', '--out', 'x')])
def test_a_folder_needs_a_share_and_a_name(draw, words, tmp_path):
    with pytest.raises(OptionError, match='a folder needs --share, above 0 and below 1, and --out'):
        draw(tmp_path, *words)
    with pytest.raises(OptionError, match='the labeled images must be between 1 and'):
        draw(tmp_path, '--share', 0.5, '--out', tmp_path / 'none')
