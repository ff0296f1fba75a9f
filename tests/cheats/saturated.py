"""Features pass a softmax so steep that it gives zeros and ones, and its gradient underflows."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor

STEEP = 1e5
GROUP = 4


class Softmax(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return (STEEP * z.view(len(z), -1, GROUP)).softmax(dim=-1).flatten(1)


class Cheat(Honest):
    name = "saturated"
    network = Softmax
