"""Pixels are rounded before the network, so that no gradient reaches them."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Rounding(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode((2 * x).round() / 2)


class Cheat(Honest):
    name = "quantised"
    network = Rounding
