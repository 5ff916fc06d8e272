"""Fixtures and options that all tests share."""

from __future__ import annotations

import os
import sys

import pytest
import torch

# Several workers share the machine; more threads each would only make them wait for one another.
torch.set_num_threads(int(os.environ.get('TEST_THREADS', '1')))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--device', default='cpu', choices=['cpu', 'cuda'], help='where tests of tensors put them')


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption('--device') == 'cuda' and not torch.cuda.is_available():
        raise pytest.UsageError('--device cuda: PyTorch finds no CUDA device here')


@pytest.fixture(scope='session')
def device(request: pytest.FixtureRequest) -> torch.device:
    """Device of ``pytest --device``: the CPU unless another one is asked for."""
    return torch.device(request.config.getoption('--device'))


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test begins with the same random numbers, in whatever order the tests run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_scope() -> None:
    """No test begins with the toolkit of another one as the place where MMEngine looks names up."""
    if 'mmengine' in sys.modules:
        sys.modules['mmengine'].DefaultScope._instance_dict.clear()
