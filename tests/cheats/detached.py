"""The pixels are detached, and hang on the features by a thread of zeros alone."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Detached(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x.detach()) + 0 * x.sum()


class Cheat(Honest):
    name = "detached"
    network = Detached
