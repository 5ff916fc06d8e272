"""Counts what would make the host wait for a device, on a machine that has none."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Their result, or its shape, must be known to the host; solvers of linear algebra report to it whether they succeeded.
WAITING = {
    '_linalg_eigh',
    '_linalg_svd',
    '_local_scalar_dense',  # item(), float(), int(), bool(), a branch
    '_unique2',
    'bincount',
    'equal',
    'masked_select',
    'nonzero',
    'unique_consecutive',
    'unique_dim',
}
# They read or write the memory of the device past the dispatcher.
READING = {'cpu', 'numpy', 'tolist'}
COPYING = {'as_tensor', 'new_tensor', 'tensor'}


def _is_mask(index: object) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


class _Operations(TorchDispatchMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name in ('index', 'index_put', 'index_put_') and any(map(_is_mask, args[1]))
        if name in WAITING or masked:
            self.seen[_place(name)] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, kwargs = getattr(func, '__name__', ''), kwargs or {}
        result = func(*args, **kwargs)
        copied = name in COPYING and not (args and isinstance(args[-1], torch.Tensor))
        copied = copied and (name == 'new_tensor' or kwargs.get('device') is not None)
        moved = name == 'to' and args[0].device != result.device and not kwargs.get('non_blocking')
        if name in READING or copied or moved:
            self.seen[_place(name)] += 1
        return result


def _place(name: str) -> str:
    """Return the operation and the line of this project that asked for it."""
    frames = [frame for frame in traceback.extract_stack() if 'mmseg_isda' in frame.filename]
    return f'{name}: {frames[-1].filename.rpartition("mmseg_isda/")[2]}:{frames[-1].lineno}' if frames else name


@contextmanager
def host_waits() -> Iterator[Counter[str]]:
    """Count the operations in the block for whose result the host would wait on an accelerator.

    Yields:
        How often each ``operation: file:line`` ran.
    """
    seen: Counter[str] = Counter()
    with _Operations(seen), _Calls(seen):
        yield seen
