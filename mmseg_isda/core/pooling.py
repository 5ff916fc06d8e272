"""The batch of all processes on each of them, for batches that are small beside the statistics."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def is_distributed() -> bool:
    """Whether there are several processes in the default group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class BatchGatherer:
    """Join the batches of all processes; those may differ in length, and from call to call.

    Each process sends one block of as many rows as the longest batch so far has had, whose first row tells how many
    count: one all-gather, or two where a batch is longer than all before it.
    """

    def __init__(self) -> None:
        self.capacity = 0

    def sizes(self, num_rows: int, like: Tensor) -> list[int]:
        """How many rows each process has; waits for the device."""
        return _headers(self._exchange(like.new_zeros(0, 1), 0, num_rows))

    def __call__(self, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The rows and labels of all processes, in the order of their ranks.

        Args:
            rows: (P, A) floats; float16 and bfloat16 travel as float32.
            labels: (P,) integers below 2^24 in magnitude.

        Returns:
            (Q, A) rows in float32 or better, (Q,) int64 labels.
        """
        # float32 holds such integers exactly, so that labels need no message of their own.
        dtype = torch.promote_types(rows.dtype, torch.float32)
        packed = torch.cat([rows.to(dtype), labels.to(dtype).unsqueeze(1)], 1)
        blocks = self._exchange(packed[: self.capacity], self.capacity, len(packed))
        lengths = _headers(blocks)
        parts = [block[1 : 1 + length] for block, length in zip(blocks, lengths, strict=True)]
        longest = max(lengths)
        if longest > self.capacity:
            rest = self._exchange(packed[self.capacity :], longest - self.capacity, 0)
            parts = [
                torch.cat([part, block[1 : 1 + length - len(part)]])
                for part, block, length in zip(parts, rest, lengths, strict=True)
            ]
            self.capacity = longest
        joined = torch.cat(parts)
        return joined[:, :-1], joined[:, -1].long()

    def _exchange(self, rows: Tensor, length: int, header: int) -> list[Tensor]:
        """The rows of all processes, filled up to a length, each block after a row of its header."""
        message = F.pad(F.pad(rows, (0, 0, 0, length - len(rows))), (0, 0, 1, 0), value=header)
        messages = [torch.empty_like(message) for _ in range(dist.get_world_size())]
        dist.all_gather(messages, message)
        return messages


def _headers(blocks: list[Tensor]) -> list[int]:
    return torch.stack([block[0, 0] for block in blocks]).long().tolist()
