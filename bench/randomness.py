"""Random numbers as a function of named axes, never of what ran before.

Two runs that name the same axes draw the same numbers, whatever else was drawn in between: a resumed run equals one
that was never stopped, evaluation cannot disturb training, and two methods with one seed see the same data order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Randomness:
    """The random numbers of one stage of one seed.

    Attributes:
        seed: the number a user names with `--seeds`; equal seeds of two methods share data order and start noise.
        stage: `pretrain`, `head` or `attack`.
    """

    seed: int
    stage: str

    def number(self, purpose: str, *, epoch: int = 0, step: int = 0) -> int:
        """A 63-bit integer that depends on the axes alone."""
        axes = f"{self.seed}/{self.stage}/{purpose}/{epoch}/{step}"
        return int.from_bytes(hashlib.blake2b(axes.encode(), digest_size=8).digest(), "big") >> 1

    def generator(
        self, purpose: str, *, epoch: int = 0, step: int = 0, device: torch.device | str = "cpu"
    ) -> torch.Generator:
        """A fresh torch generator on `device`, seeded by the axes."""
        import torch

        return torch.Generator(device).manual_seed(self.number(purpose, epoch=epoch, step=step))

    @contextmanager
    def as_global(self, purpose: str) -> Iterator[None]:
        """Seed torch's global generators inside the block (initialisers, others' attacks), restore them after it."""
        import torch

        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(self.number(purpose))
            yield
