"""The queue of past keys that serve as negatives in MoCo and AMOC."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.errors import BenchError


class MemoryBank(nn.Module):
    """A first-in, first-out queue of keys (AMOC section 3.2; MTandHJ/amoc@cdeefda models/builder.py:41-70).

    The official code stores keys as columns, this one as rows: `logits = query @ bank.keys.T`. Keys and pointer are
    buffers on the device, so a checkpoint holds them, and a step that enqueues can be captured in a CUDA graph.

    Attributes:
        keys: [size, dim], unit rows; normalised Gaussian noise until overwritten.
        pointer: int64 scalar in [0, size), the slot of the next key.
    """

    keys: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, generator: torch.Generator | None = None) -> None:
        """Fill the bank with `size` random directions, drawn from the (CPU) `generator`."""
        super().__init__()
        if size < 1:
            raise BenchError(f"a memory bank of {size} keys holds no negatives: give it at least one.")
        self.register_buffer("keys", functional.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Overwrite the oldest keys with `keys` [B, dim] (unit rows, detached here), wrapping around at the end.

        B need not divide the size. Logits formed before must have been differentiated: autograd refuses a bank that
        changed under it. Raises BenchError when B exceeds the size.
        """
        batch, size = len(keys), len(self.keys)
        if batch > size:
            raise BenchError(
                f"a memory bank of {size} keys cannot take a batch of {batch}: enlarge the bank or shrink the batch."
            )
        slots = (self.pointer + torch.arange(batch, device=self.pointer.device)) % size
        self.keys.index_copy_(0, slots, keys.to(self.keys.dtype))
        self.pointer.add_(batch).remainder_(size)
