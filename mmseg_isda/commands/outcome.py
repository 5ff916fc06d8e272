"""How a command ends: its exit status, and one line for what the user can mend."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from ..errors import UserError

LAUNCHER_RANKS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def run_command(main: Callable[[], Any]) -> int:
    """Run a command and return its exit status: what it returns or 0; 2 after one line for what the user can mend."""
    try:
        status = main()
    except UserError as error:
        if launched_rank() == 0:
            print(f'error: {error}', file=sys.stderr)
        leave_processes()
        return 2
    # Not after other errors: to leave may wait for the other processes, and the traceback must be seen at once.
    leave_processes()
    return status or 0


def leave_processes() -> None:
    """End the process group. Threads of gloo that outlive the interpreter now and then abort it, the work done."""
    if 'torch.distributed' not in sys.modules:
        return
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        gc.collect()  # a runner is full of cycles, and its wrapped model holds the group and its threads
        dist.destroy_process_group()


def launched_rank() -> int:
    """Return the rank that the launcher gave this process, before any process group exists."""
    return int(next((os.environ[names[0]] for names in LAUNCHER_RANKS.values() if names[0] in os.environ), 0))
