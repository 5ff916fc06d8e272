"""What all tests share."""

from __future__ import annotations

import os
import sys

import pytest
import torch

# Several workers share the machine; more threads each would only make them wait for one another.
torch.set_num_threads(int(os.environ.get('TEST_THREADS', '1')))


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test begins with the same random numbers, in whatever order the tests run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_scope() -> None:
    """No test begins with the toolkit of another one as the place where MMEngine looks names up."""
    if 'mmengine' in sys.modules:
        sys.modules['mmengine'].DefaultScope._instance_dict.clear()
