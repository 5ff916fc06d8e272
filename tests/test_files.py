"""Files: whole or absent, with names of their own, and read without code or a memory of their choice."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest

from mmseg_isda.errors import ExistingPathError, MissingPathError, OptionError
from mmseg_isda.files import (
    MemoryBudget,
    is_remote,
    move_into_place,
    read_class_weight,
    remove_leftovers,
    temporary_beside,
    write_bytes,
)

# --- writing ---------------------------------------------------------------------------------------------------------


def test_two_writers_have_files_of_their_own(tmp_path, monkeypatch):
    """Guards two containers on one volume, whose processes have the same number."""
    monkeypatch.setattr(os, 'getpid', lambda: 7)
    with temporary_beside(tmp_path / 'a') as one, temporary_beside(tmp_path / 'a') as other:
        assert one != other
        one.write_text('1')
        other.write_text('2')
        move_into_place(one, tmp_path / 'a', force=False)
        with pytest.raises(ExistingPathError, match='--force'):
            move_into_place(other, tmp_path / 'a', force=False)
    assert [path.name for path in tmp_path.iterdir()] == ['a'] and (tmp_path / 'a').read_text() == '1'


def test_written_files_have_the_usual_permissions(tmp_path):
    """Guards tempfile's own, which keep a group from reading each other's checkpoints."""
    (tmp_path / 'plain').touch()
    write_bytes(b'1', tmp_path / 'new' / 'a')
    assert stat.S_IMODE((tmp_path / 'new' / 'a').stat().st_mode) == stat.S_IMODE((tmp_path / 'plain').stat().st_mode)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').touch()
    for target in (tmp_path / 'file' / 'a', tmp_path / ('x' * 300)):
        with pytest.raises(OptionError, match='cannot be written: '):
            write_bytes(b'1', target)


def test_only_leftovers_are_removed(tmp_path):
    with temporary_beside(tmp_path / 'iter_1.pth') as left:
        left.rename(tmp_path / 'kept')
    (tmp_path / 'kept').rename(left)
    others = ['.hidden.tmp', 'a.tmp', '.a.0123.tmp', 'iter_1.pth']
    for name in others:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('path', 'remote'),
    [
        ('https://a.b/c.pth', True),
        ('s3://a/c.pth', True),
        ('cluster:s3://a/c.pth', True),
        ('petrel://a', True),
        ('open-mmlab://resnet50', True),
        ('openmmlab://resnet50', True),
        ('torchvision://resnet50', True),
        ('mmcls://x', True),
        ('x:/c.pth', False),
        ('x://c.pth', False),
        ('./https://c.pth', False),
        ('data/s3://c.pth', False),
        ('/a/b.pth', False),
    ],
)
def test_only_schemes_of_the_host_are_remote(path, remote):
    """A path of a folder that is called like a scheme escaped every check."""
    assert is_remote(path) == remote


def test_class_weights(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([1, 0.5, 0], np.float32))
    (tmp_path / 'a.json').write_text('[1, 0.5, 0]')
    (tmp_path / 'a.yaml').write_text('- 1\n- 0.5\n- 0\n')
    (tmp_path / 'a.yml').write_text('[1, 0.5, 0]')
    for suffix in ('npy', 'json', 'yaml', 'yml'):
        assert read_class_weight(tmp_path / f'a.{suffix}') == [1, 0.5, 0]


class _Code:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, 'w')


def test_no_code_of_class_weights_is_run(tmp_path):
    """The host unpickles .pkl, and calls what a YAML file names."""
    mark = tmp_path / 'ran'
    for name in ('a.pkl', 'a.pickle', 'a', 'a.txt'):
        (tmp_path / name).write_bytes(pickle.dumps(_Code(mark)))
        with pytest.raises(OptionError, match='can run code'):
            read_class_weight(tmp_path / name)
    np.save(tmp_path / 'a.npy', np.array([_Code(mark)], object), allow_pickle=True)
    (tmp_path / 'b.npy').write_bytes(pickle.dumps(_Code(mark)))
    for name, text in (('a.yaml', f'!!python/object/apply:builtins.open [{str(mark)!r}, w]'), ('a.json', '[')):
        (tmp_path / name).write_text(text)
    for name in ('a.npy', 'b.npy', 'a.yaml', 'a.json'):
        with pytest.raises(OptionError, match=f'{name} cannot be read'):
            read_class_weight(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize(
    'content', ['[]', '{}', '1', '"abc"', '[[1]]', '[null]', '["1"]', '[NaN]', '[Infinity]', '[-1]', '[1e999]']
)
def test_class_weights_are_finite_numbers(content, tmp_path):
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(OptionError, match='must hold a list of finite numbers'):
        read_class_weight(tmp_path / 'a.json')


def test_class_weights_of_any_size_or_none(tmp_path):
    """Guards memory: a header of NumPy may claim any shape, a list of YAML may name itself a billion times."""
    np.save(tmp_path / 'a.npy', np.ones(3))
    content = (tmp_path / 'a.npy').read_bytes()
    (tmp_path / 'a.npy').write_bytes(content.replace(b'(3,), }          ', b'(3333333333,), } '))
    rows = ['a0: &a0 [1, 1]', *(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 30)), 'b: [*a29]']
    (tmp_path / 'a.yaml').write_text('\n'.join(rows))
    (tmp_path / 'a.json').write_text(json.dumps([1] * (1 << 20)))
    (tmp_path / 'b.json').write_text('[1' + '0' * 400 + ']')
    np.save(tmp_path / 'b.npy', np.ones((2, 2)))
    for name in ('a.npy', 'a.yaml', 'a.json', 'b.json', 'b.npy'):
        with pytest.raises(OptionError, match=r'cannot be read|more than any|finite numbers'):
            read_class_weight(tmp_path / name)
    with pytest.raises(MissingPathError, match=r'did you mean .*a\.json'):
        read_class_weight(tmp_path / 'aa.json')


def test_memory_budget():
    budget = MemoryBudget('a.zip', 3_000_000)
    budget.take(500_000_000)
    with pytest.raises(OptionError, match=r'a\.zip \(3,000,000 bytes\) unpacks to over 568,435,456 bytes'):
        budget.take(100_000_000)
