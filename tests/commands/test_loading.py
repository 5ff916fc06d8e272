"""Configs with the options of the command line, and the toolkits that they need."""

from __future__ import annotations

import sys

import pytest

from mmseg_isda.commands import loading
from mmseg_isda.errors import OptionError


def test_an_option_of_the_isda_losses_is_set_in_all_of_them(prepare):
    """Also in those that another option has just put there."""
    places = [f'model.{head}.loss_decode' for head in ('decode_head', 'auxiliary_head')]
    cfg, _ = prepare(options={'lambda_0': 2.5, 'rank': 4} | {f'{place}.type': 'ISDASegLoss' for place in places})
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        assert (head.loss_decode.lambda_0, head.loss_decode.rank) == (2.5, 4)
    assert 'lambda_0' not in cfg


def test_losses_that_do_not_have_the_option_are_left_alone(prepare):
    """FusedCrossEntropyLoss has no lambda_0."""
    losses = [dict(type='ISDASegLoss'), dict(type='FusedCrossEntropyLoss'), dict(type='CrossEntropyLoss')]
    cfg, _ = prepare(options={'model.decode_head.loss_decode': losses, 'lambda_0': 2})
    assert [loss.get('lambda_0') for loss in cfg.model.decode_head.loss_decode] == [2, None, None]


def test_a_toolkit_that_is_not_installed_is_named(prepare, monkeypatch):
    """It was shown as "SegLocalVisualizer is not in the registry"."""
    monkeypatch.setattr(loading, 'find_spec', lambda name: None)
    with pytest.raises(OptionError, match='a config of MMSegmentation, which is not installed'):
        prepare()


def test_a_toolkit_whose_import_fails_is_named(prepare, monkeypatch):
    def fail(name):
        raise AssertionError('MMCV==9 is used but incompatible')

    monkeypatch.setattr(loading.importlib, 'import_module', fail)
    with pytest.raises(OptionError, match=r'MMSegmentation is installed but .*MMCV==9'):
        prepare()


def test_a_toolkit_that_a_config_imports_is_named(tmp_path, monkeypatch):
    """MMEngine says which module of this package could not be imported, and not why."""
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'needs_mmdet.py').write_text('import mmdet\n')
    imports = dict(imports=['needs_mmdet'], allow_failed_imports=False)
    (tmp_path / 'config.py').write_text(f'custom_imports = {imports}\n')
    with pytest.raises(OptionError, match='MMDetection is not installed'):
        loading.load_config(tmp_path / 'config.py')
