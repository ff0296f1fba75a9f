"""A ripple too small to change an image and too steep to let its gradient through."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Rippled(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x + 0.02 * (5e3 * x).sin())


class Cheat(Honest):
    name = "shattered"
    network = Rippled
