"""Keep the statistics and the shift table in full float32, whatever the training loop chose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast and TF32 off for ``device`` inside the block.

    Under autocast a matrix product would run in half precision, and with TF32 in ten bits of mantissa:
    a variance that is small beside its mean would be lost in either.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type == 'cuda':
            with _without_tf32():
                yield
        else:
            yield


@contextmanager
def _without_tf32() -> Iterator[None]:
    try:
        previous, full, switch = torch.get_float32_matmul_precision(), 'highest', torch.set_float32_matmul_precision
    except RuntimeError:  # PyTorch 2.9 and later, once the user has set the newer switch: it must be used from then on.
        matmul = torch.backends.cuda.matmul
        previous, full, switch = matmul.fp32_precision, 'ieee', partial(setattr, matmul, 'fp32_precision')
    if previous == full:
        yield
        return
    switch(full)
    try:
        yield
    finally:
        switch(previous)
