"""Where a network runs, by one rule for every system."""

from __future__ import annotations

import os

import torch

__all__ = ["device_of"]


def device_of(name: str) -> str:
    """The device that is named; of "auto" the accelerator of this process, else the CPU.

    >>> device_of("cpu")
    'cpu'
    """
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # under torchrun every process has its own
    return "mps" if torch.backends.mps.is_available() else "cpu"
