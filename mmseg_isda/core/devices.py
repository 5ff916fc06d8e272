"""Where the host may look at a value."""

from __future__ import annotations

import torch


def waits(device: torch.device) -> bool:
    """Return whether a branch on a tensor's value makes the host wait for the device."""
    return device.type != 'cpu'
