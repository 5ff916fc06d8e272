"""Two processes under gloo, for tests that compare ranks with one process on the joined batch."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(work: Callable[..., Any], *args: Any, size: int = 2) -> list[Any]:
    """Run ``work(rank, *args)`` in forked processes that share a gloo group; return what each rank returned.

    Forked, as a fresh interpreter would first import the toolkits for many seconds. Ranks meet at a file, so no port
    can be taken by someone else in between. An error in one rank is raised here with its traceback. Where this process
    has used CUDA the test is skipped: autograd does not outlive the fork.
    """
    if torch.cuda.is_initialized():
        pytest.skip('a forked process cannot run autograd once CUDA was used: try it without --device cuda')
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(_run_rank, (work, args, size, folder), nprocs=size, start_method='fork')
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(size)]


def _run_rank(rank: int, work: Callable[..., Any], args: tuple, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=size)
    result = work(rank, *args)
    Path(folder, str(rank)).write_bytes(pickle.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
