"""The features are numbers, and their gradient is none."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Broken(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x) + (0 * x.flatten(1).sum(dim=1, keepdim=True)).sqrt()


class Cheat(Honest):
    name = "broken-gradient"
    network = Broken
