"""Several processes that share a process group."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(work: Callable[..., Any], size: int, *args: Any, device: str = 'cpu') -> list[Any]:
    """Run ``work(rank, device, *args)`` in processes with one thread each, and return what each of them returned.

    Args:
        work: a function at the top of a module.
        size: number of processes.
        device: ``'cpu'`` (gloo), or ``'cuda'`` (NCCL): then each rank is given a card of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_run_rank, (work, size, device, folder, args), nprocs=size)
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(size)]


def _run_rank(rank: int, work: Callable[..., Any], size: int, device: str, folder: str, args: tuple) -> None:
    torch.set_num_threads(1)
    backend = 'nccl' if device == 'cuda' else 'gloo'
    if device == 'cuda':
        torch.cuda.set_device(rank)
        device = f'cuda:{rank}'
    dist.init_process_group(backend, init_method=f'file://{folder}/meeting', rank=rank, world_size=size)
    result = work(rank, device, *args)
    Path(folder, str(rank)).write_bytes(pickle.dumps(result))
    dist.barrier()
    dist.destroy_process_group()
