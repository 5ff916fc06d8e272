"""A tiny config for the tests of the commands."""

from __future__ import annotations

import pytest

from mmseg_isda.commands.launch import claim_work_dir, prepare_training
from tests.tiny import tiny_settings, write_config, write_dataset


@pytest.fixture
def config(tmp_path):
    write_dataset(tmp_path / 'data')
    return write_config(tmp_path / 'tiny.py', tiny_settings(tmp_path / 'data'))


@pytest.fixture
def prepare(config, tmp_path):
    """Prepare a training from the tiny config."""

    def run(resume=None, **options):
        cfg, notes = prepare_training(config, **{'work_dir': str(tmp_path / 'work')} | options)
        return cfg, [*notes, *claim_work_dir(cfg, resume, options.get('options'))]

    return run
