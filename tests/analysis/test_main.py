"""The command line of the analyses, from a config and a checkpoint to a picture and its numbers."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import cv2
import pytest
import torch

from mmseg_isda.analysis.main import main, parse_args
from mmseg_isda.analysis.sources import checkpoints_of, of_classes, pairs_of
from mmseg_isda.commands.outcome import run_command
from mmseg_isda.errors import MissingPathError, OptionError
from tests.analysis import tiny


@pytest.fixture(scope='module')
def digits(tmp_path_factory) -> list[str]:
    """Config and checkpoint."""
    root = tmp_path_factory.mktemp('digits')
    config = tiny.digits_config(root / 'digits.py')
    return [str(config), str(tiny.write_checkpoint(config, root / 'epoch_12.pth', epoch=12))]


@pytest.fixture(scope='module')
def scenes(tmp_path_factory) -> list[str]:
    """Config and checkpoint."""
    config = tiny.scenes_config(tmp_path_factory.mktemp('scenes'))
    return [str(config), str(tiny.write_checkpoint(config, config.with_name('iter_10.pth'), iter=10))]


def _numbers(folder, name: str) -> dict:
    """What an analysis wrote, after a look whether its picture is one."""
    assert min(cv2.imread(str(folder / f'{name}.png')).shape[:2]) > 300
    return json.loads((folder / f'{name}.json').read_text())


@pytest.mark.parametrize(
    ('what', 'options'),
    [
        ('bound', ['--samples', '20']),
        ('features', ['--split', 'train', '--perplexity', '5']),
        ('spectrum', []),
        ('directions', ['--shown', '2']),
    ],
)
@pytest.mark.parametrize('kind', ['digits', 'scenes'])
def test_each_analysis_writes_picture_and_numbers(
    request: pytest.FixtureRequest, tmp_path, kind: str, what: str, options: list[str]
) -> None:
    classes = ['--classes', 'left', 'right', 'ground'] if kind == 'scenes' else []
    sources = request.getfixturevalue(kind)
    main([*sources, what, '--per-class', '30', '--out', str(tmp_path), *options, *classes])
    assert sources[1] in json.dumps(_numbers(tmp_path, what))


def test_features_of_two_checkpoints_stand_side_by_side(digits: list[str], tmp_path) -> None:
    main([*digits, *digits, 'features', '--per-class', '5', '--augmented', '0', '--out', str(tmp_path)])
    first, second = _numbers(tmp_path, 'features')['maps']
    assert first['points'] == second['points'] and first['augmented_points'] == []


def test_a_folder_gives_the_curve_over_training(digits: list[str], tmp_path) -> None:
    for epoch in (10, 9):
        tiny.write_checkpoint(digits[0], tmp_path / f'epoch_{epoch}.pth', epoch=epoch)
    main(['bound', digits[0], str(tmp_path), '--samples', '10', '--per-class', '5', '--out', str(tmp_path)])
    numbers = _numbers(tmp_path, 'bound')
    assert [row['at'] for row in numbers['rows']] == [9, 10] and numbers['over'] == 'epoch'


def test_reverse_maps_to_a_generator_of_either_kind(digits: list[str], tmp_path) -> None:
    """A TorchScript file, or what can be imported."""

    class Linear(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(z.view(-1, 1, 8, 8))

    torch.jit.script(Linear()).save(str(tmp_path / 'generator.pt'))
    sys.modules['made_generator'] = SimpleNamespace(generator=Linear())
    numbers = []
    for source in (str(tmp_path / 'generator.pt'), 'made_generator:generator'):
        options = ['--generator', source, '--latent', '64', '--steps', '8', '--shown', '2', '--augmented', '2']
        main([*digits, 'reverse', '--out', str(tmp_path), *options])
        numbers.append(_numbers(tmp_path, 'reverse'))
    assert numbers[0]['step_1_feature_error'] == numbers[1]['step_1_feature_error']
    assert len(numbers[0]['step_2_feature_error']) == 2 and len(numbers[0]['step_2_feature_error'][0]) == 2


def _error(capsys: pytest.CaptureFixture, *words: str) -> str:
    """The one line that a command ends with."""
    assert run_command(lambda: main(words)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.filterwarnings('ignore:the checkpoint has no ISDA statistics')
@pytest.mark.parametrize('what', ['bound', 'directions'])
def test_an_old_checkpoint_is_refused_in_one_line(
    digits: list[str], tmp_path, capsys: pytest.CaptureFixture, what: str
) -> None:
    """And can be looked at all the same, with covariances that are estimated."""
    old = str(tiny.write_checkpoint(digits[0], tmp_path / 'old.pth', statistics=False))
    assert 'holds no ISDA statistics' in _error(capsys, digits[0], old, what, '--out', str(tmp_path))
    main([digits[0], old, what, '--estimate', 'full', '--per-class', '8', '--out', str(tmp_path)])


def test_a_wrong_generator_is_refused_in_one_line(digits: list[str], tmp_path, capsys: pytest.CaptureFixture) -> None:
    sys.modules['made_generator'] = SimpleNamespace(
        small=lambda z: (z @ torch.zeros(6, 16)).view(-1, 1, 4, 4), none=None
    )

    def refused(source: str) -> str:
        return _error(capsys, *digits, 'reverse', '--generator', source, '--latent', latent, '--out', str(tmp_path))

    latent = '6'
    assert 'makes images of (1, 4, 4), but those of the data set are (1, 8, 8)' in refused('made_generator:small')
    assert 'no such file, nor such a callable' in refused('nowhere.pt')
    (tmp_path / 'text.pt').write_text('no archive')
    assert 'is no TorchScript file' in refused(str(tmp_path / 'text.pt'))
    latent = '7'
    assert 'does not take inputs (N, 7): give their size by --latent' in refused('made_generator:small')


def test_reverse_needs_whole_images(scenes: list[str], capsys: pytest.CaptureFixture) -> None:
    classes = ['--classes', 'left', 'right', 'ground']
    assert 'name a config of classification' in _error(capsys, *scenes, 'reverse', '--generator', 'a:b', *classes)


def test_rare_classes_are_refused_in_one_line(scenes: list[str], capsys: pytest.CaptureFixture) -> None:
    error = _error(capsys, *scenes, 'spectrum')
    assert "class 'never' has 0 sample(s)" in error and "--classes 'left' 'right' 'ground'" in error
    assert 'at least two classes with two samples' in _error(capsys, *scenes, 'spectrum', '--classes', 'left')
    assert "no class 'sky'; the classes are: left" in _error(capsys, *scenes, 'spectrum', '--classes', 'sky', 'left')


def test_classes_by_name_or_number(digits: list[str]) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3])

    class Labels:
        def __init__(self, labels: torch.Tensor) -> None:
            self.labels = labels

        def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
            return self.labels[index]

    chosen = of_classes(Labels(labels), ['a', 'b', 'c', 'd'], ['c', '0'])
    assert chosen.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize('words', [('--images', '0'), ('--per-class', '1'), ('--strength', '-1'), ('--shown', '0')])
def test_numbers_that_cannot_be_are_refused_in_one_line(
    digits: list[str], capsys: pytest.CaptureFixture, words: tuple[str, str]
) -> None:
    """No image, or a variance of one sample, would end in a traceback or in NaN."""
    smallest = {'--per-class': 2, '--strength': 0}.get(words[0], 1)
    assert f'{words[0]} must be {smallest} or more' in _error(capsys, *digits, 'directions', *words)


def test_an_unknown_analysis_is_named(digits: list[str], capsys: pytest.CaptureFixture) -> None:
    """Guards the parser's own message, which blames the config."""
    error = _error(capsys, *digits, 'everything')
    assert 'one of bound, features' in error and error.endswith("got 'everything'")


def test_a_missing_library_is_named(digits: list[str], capsys: pytest.CaptureFixture, monkeypatch) -> None:
    """The package can be installed without what draws."""
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert "matplotlib is not installed: pip install '.[analysis]'" in _error(capsys, *digits, 'bound')


def test_what_may_stand_first_or_last(digits: list[str]) -> None:
    first, last = parse_args(['bound', *digits, '--seed', '3']), parse_args([*digits, '--seed', '3', 'bound'])
    assert first == last and first.sources == digits


def test_sources_are_paired_in_order(digits: list[str], tmp_path) -> None:
    """Epoch 10 comes after epoch 9, a config holds until the next, and what is missing is named."""
    config, checkpoint = digits
    for name in ('epoch_10.pth', 'epoch_9.pth', 'best.pth'):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoints_of(tmp_path)] == ['epoch_9.pth', 'epoch_10.pth']
    assert [pair[1].name for pair in pairs_of([config, checkpoint, config, str(tmp_path)])] == [
        'epoch_12.pth',
        'epoch_9.pth',
        'epoch_10.pth',
    ]
    for sources, error, message in (
        ([checkpoint], OptionError, 'a config must come before'),
        ([config], OptionError, 'no checkpoint is named'),
        ([config, str(tmp_path.parent / 'nothing.pth')], MissingPathError, 'does not exist'),
    ):
        with pytest.raises(error, match=message):
            pairs_of(sources)
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(MissingPathError, match='holds no checkpoint'):
        checkpoints_of(empty)
