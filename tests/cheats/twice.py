"""Pixels are normalised twice."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class NormalisedTwice(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self.victim.normalise(x))


class Cheat(Honest):
    name = "twice"
    network = NormalisedTwice
