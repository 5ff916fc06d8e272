import subprocess
import sys

import pytest
import torch

from mmseg_isda.core.precision import full_precision

PROGRAM = """
import warnings

import torch

warnings.simplefilter('ignore')
from mmseg_isda.core.precision import full_precision

{switch}
with full_precision(torch.device('cuda')):
    {inside}
{after}
print('restored')
"""


@pytest.mark.parametrize('api', ['old', 'new'])
def test_tf32_is_off_inside_and_back_afterwards(api):
    """PyTorch has two switches, and from 2.9 on refuses to read the older one once the newer one has been set.

    In a process of its own, as the switches are global.
    """
    if api == 'old':
        read = 'torch.get_float32_matmul_precision()'
        program = dict(
            switch="torch.set_float32_matmul_precision('high')",
            inside=f"assert {read} == 'highest'",
            after=f"assert {read} == 'high'",
        )
    else:
        if not hasattr(torch.backends.cuda.matmul, 'fp32_precision'):
            pytest.skip('this PyTorch has only the older switch')
        read = 'torch.backends.cuda.matmul.fp32_precision'
        program = dict(switch=f"{read} = 'tf32'", inside=f"assert {read} == 'ieee'", after=f"assert {read} == 'tf32'")
    run = subprocess.run([sys.executable, '-c', PROGRAM.format(**program)], capture_output=True, text=True)
    assert run.stdout.endswith('restored\n'), run.stderr


def test_autocast_is_off_inside():
    a = torch.randn(4, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision(a.device):
            assert (a @ a).dtype == torch.float32
